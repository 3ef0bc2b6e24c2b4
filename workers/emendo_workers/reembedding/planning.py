"""The first steps: what is to be done and whether the provider can, then a place for the new vectors."""

from __future__ import annotations

from redis.exceptions import ResponseError
from redisvl.exceptions import RedisVLError

from emendo_client.embeddings import create_embedder
from emendo_client.errors import ConfigurationError
from emendo_client.reembedding import plan
from emendo_client.reembedding.models import MigrationPhase
from emendo_client.reembedding.targets import target_space
from emendo_config.compact import compact_json
from emendo_config.index import create_index
from emendo_config.registry import SpaceRecord, save_space
from emendo_workers.reembedding.migration import Migration
from emendo_workers.reembedding.pages import first_pass
from emendo_workers.services import Services
from emendo_workers.store_failures import is_away
from emendo_workers.submitting import converse


def make_plan(migration: Migration) -> None:
    """Planned → filling, or → backfill for a repair. Changes nothing but the state.

    Raises:
        EmendoError: the provider cannot do it, or the store is in that space already.
    """
    services, operation, keys = migration.services, migration.operation, migration.services.keys
    active, records = converse(services, plan.spaces(keys))
    known = {"project": migration.work.project, "source": active.name}
    if operation.allow_missing:
        known["allow_missing"] = "1"
    if operation.filters is not None:
        filters = compact_json(operation.filters)
        where = {"phase": MigrationPhase.BACKFILL, "target": active.name, "record": active.to_json()}
        migration.advance({**known, **where, "filters": filters, **first_pass()})
        return
    target = target_space(operation.wanted or {}, active, records, services.settings)
    if not target.copy_of:
        _probe(services, target)
    estimated = converse(services, plan.estimate(services.settings, keys, active, target))
    migration.advance(
        {
            **known,
            "phase": MigrationPhase.FILLING,
            "target": target.name,
            "record": target.to_json(),
            "plan": estimated.model_dump_json(),
        }
    )


def open_target(migration: Migration) -> None:
    """Filling → backfill: the new index, and the word to all workers that writes keep its vectors.

    Raises:
        ConfigurationError: this Redis has no such index.
    """
    services, target = migration.services, migration.target
    try:
        create_index(services.data, services.keys, target)
    except (ResponseError, RedisVLError) as error:  # redisvl knows of some that Redis is too old
        if is_away(error):
            raise
        raise ConfigurationError(
            f"Redis does not make a {target.algorithm} index of {target.datatype} under {target.metric} distance",
            suggestion="use another algorithm, metric or datatype, or a newer Redis",
        ) from error
    save_space(services.data, services.keys, target)
    migration.advance({"phase": MigrationPhase.BACKFILL, **first_pass()})


def _probe(services: Services, target: SpaceRecord) -> None:
    embedder = create_embedder(services.settings, target.space)
    try:
        embedder.prepare()
        embedder.embed([plan.PROBE])
    finally:
        embedder.close()
