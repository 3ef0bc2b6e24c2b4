"""Creates and restores a store's search indexes and its registry of embedding spaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emendo_config.embedding_space import VECTOR_PREFIX, EmbeddingSpace
from emendo_config.errors import ConfigurationError
from emendo_config.settings import Settings
from emendo_config.spaces.index import find_active
from emendo_config.spaces.indexes import add_alias, create_index, described, extend_index, index_names
from emendo_config.spaces.registry import SpaceRecord, SpaceState, find_space, read_registry
from emendo_config.spaces.replacement import replace_open_indexes
from emendo_config.store.keys import Keys

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import Pipeline


def ensure_index(redis: Redis, settings: Settings) -> SpaceRecord:
    """Makes what is missing of a store's registry and indexes, and checks the settings against it; the active space.

    Safe to call from many starting workers at once; never drops anything, nor moves an alias that is there.

    Raises:
        ConfigurationError: the settings name a space this store does not have, or the alias stands for an index of
            none of its spaces.
    """
    active = restore_indexes(redis, settings)
    if find_space(read_registry(redis, Keys(settings.key_prefix)), settings.space) is None:
        raise _other_space(settings.space, active.name, active.space.dimensions, active.space)
    return active


def restore_indexes(redis: Redis, settings: Settings) -> SpaceRecord:
    """Makes the indexes of the registered spaces, and the alias, where they are missing; the active space.

    A store without a registry gets the settings' space as its first. An alias that was lost comes back on the newest
    space that is complete. An index that an earlier release made gets the fields it lacks, or is replaced.

    Raises:
        ConfigurationError: the alias stands for an index of no registered space.
    """
    keys = Keys(settings.key_prefix)
    current = indexed_space(redis, keys)
    if current in (None, (settings.space.field, settings.space.dimensions)):
        # Nothing was written yet, or by a release without a registry.
        _register_first(redis, keys, SpaceRecord(settings.space, settings.index_algorithm))
    records = read_registry(redis, keys)
    if current and not records:
        raise _other_space(settings.space, current[0].removeprefix(VECTOR_PREFIX), current[1])
    there = index_names(redis)
    for record in records:
        is_active = current is not None and record.field == current[0]
        if keys.index(record.name) in there:
            extend_index(redis, keys, record, index_text=settings.index_text)
        elif record.is_written and not is_active:
            create_index(redis, keys, record, index_text=settings.index_text)
    complete = [record for record in records if record.state is SpaceState.LIVE]
    if current is None and complete:
        add_alias(redis, keys, complete[-1].name)
        current = indexed_space(redis, keys)
    replace_open_indexes(redis, settings, described(redis, keys.index_alias))
    return find_active(current, records)


def indexed_space(redis: Redis, keys: Keys) -> tuple[str, int] | None:
    """The vector field and dimension behind the alias; None when there is no such alias yet."""
    behind = described(redis, keys.index_alias)
    return behind.vector if behind else None


def _register_first(redis: Redis, keys: Keys, record: SpaceRecord) -> None:
    def register(pipeline: Pipeline) -> None:
        if not pipeline.exists(keys.spaces):
            pipeline.multi()
            pipeline.hset(keys.spaces, record.name, record.to_json())

    redis.transaction(register, keys.spaces)  # of workers that start with different settings one wins


def _other_space(
    wanted: EmbeddingSpace, name: str, dimensions: int, active: EmbeddingSpace | None = None
) -> ConfigurationError:
    """The refusal of settings; `active` is None in a store without a registry, which knows its space by name only."""
    differences = list(wanted.differences(active)) if active else []
    said = "; ".join(
        f"{name} is {theirs!r} in the store and {ours!r} in the settings" for name, ours, theirs in differences
    )
    changed = [name for name, *_ in differences] or ["provider", "model", "dimensions"]
    settings = ", ".join(f"EMENDO_EMBEDDING_{name.upper()}" for name in changed)
    return ConfigurationError(
        f"the store is indexed by {name} ({dimensions} dimensions), but the settings ask for "
        f"{wanted.name} ({wanted.dimensions} dimensions){': ' if said else ''}{said}",
        suggestion=f"set {settings} back to what the store was written with and change it by emendo reembed, or use "
        "another EMENDO_KEY_PREFIX",
    )
