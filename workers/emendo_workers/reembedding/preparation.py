"""The first steps: choose the target space and try its provider, then create its index."""

from __future__ import annotations

from redis.exceptions import ResponseError
from redisvl.exceptions import RedisVLError

from emendo_client.errors import ConfigurationError
from emendo_client.exchanges.reembedding import estimate
from emendo_client.exchanges.reembedding.models import MigrationPhase
from emendo_client.exchanges.reembedding.target_space import target_space
from emendo_client.providers.embeddings import create_embedder
from emendo_config import Settings
from emendo_config.json_codec import compact_json
from emendo_config.spaces.indexes import create_index
from emendo_config.spaces.registry import SpaceRecord, save_space
from emendo_workers.jobs.store_outages import is_away
from emendo_workers.jobs.submit import run_exchange
from emendo_workers.reembedding.migration import Migration
from emendo_workers.reembedding.passes import first_pass_fields


def choose_target(migration: Migration) -> None:
    """Planned → filling, or → backfill for a repair. Changes nothing but the state.

    Raises:
        EmendoError: the provider failed, or the target is the active space already.
    """
    store, operation, keys = migration.store, migration.operation, migration.store.keys
    active, records = run_exchange(store, estimate.spaces(keys))
    known = {"project": migration.work.project, "source": active.name}
    if operation.allow_missing:
        known["allow_missing"] = "1"
    if operation.filters is not None:
        filters = compact_json(operation.filters)
        where = {"phase": MigrationPhase.BACKFILL, "target": active.name, "record": active.to_json()}
        migration.advance({**known, **where, "filters": filters, **first_pass_fields()})
        return
    target = target_space(operation.wanted or {}, active, records, store.settings)
    if not target.copy_of:
        _probe(store.settings, target)
    estimated = run_exchange(store, estimate.estimate(store.settings, keys, active, target))
    migration.advance(
        {
            **known,
            "phase": MigrationPhase.FILLING,
            "target": target.name,
            "record": target.to_json(),
            "plan": estimated.model_dump_json(),
        }
    )


def create_target(migration: Migration) -> None:
    """Filling → backfill: creates the new index, and registers the space so that all workers write its vectors.

    Raises:
        ConfigurationError: this Redis cannot create such an index.
    """
    store, target = migration.store, migration.target
    try:
        create_index(store.data, store.keys, target, index_text=store.settings.index_text)
    except (ResponseError, RedisVLError) as error:  # redisvl itself refuses some on an old Redis
        if is_away(error):
            raise
        raise ConfigurationError(
            f"Redis cannot create a {target.algorithm} index of {target.datatype} under {target.metric} distance",
            suggestion="use another algorithm, metric or datatype, or a newer Redis",
        ) from error
    save_space(store.data, store.keys, target)
    migration.advance({"phase": MigrationPhase.BACKFILL, **first_pass_fields()})


def _probe(settings: Settings, target: SpaceRecord) -> None:
    embedder = create_embedder(settings, target.space)
    try:
        embedder.prepare()
        embedder.embed([estimate.PROBE])
    finally:
        embedder.close()
