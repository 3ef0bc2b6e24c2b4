"""Replaces an index with an open prefix, as earlier releases made it, while searches go on.

An open prefix also takes in the memories of an installation whose prefix begins like `emendo:memory`. The new index is
made beside the old one. Once Redis has filled it, the alias moves in one step, and the old one is dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emendo_config.settings import Settings
from emendo_config.spaces.index import IndexDescription
from emendo_config.spaces.indexes import create_index, described, drop_index, index_names
from emendo_config.spaces.registry import SpaceRecord, read_registry
from emendo_config.store import scripts
from emendo_config.store.keys import Keys

if TYPE_CHECKING:
    from redis import Redis


def replace_open_indexes(redis: Redis, settings: Settings, behind: IndexDescription | None) -> bool:
    """Takes the next step that is possible; True when no index with an open prefix is left.

    Any number of processes may take steps at once, beside workers of an earlier release.

    Args:
        redis: the data Redis.
        settings: of this installation.
        behind: the index that the alias stands for.
    """
    keys, names = Keys(settings.key_prefix), index_names(redis)
    steps = [
        _replace(redis, settings, record, behind if _is_open_for(behind, keys, record) else None, names)
        for record in read_registry(redis, keys)
        if record.is_written
    ]
    return all(steps)


def has_open_prefix(index: IndexDescription, keys: Keys) -> bool:
    """True when the index may hold keys that are no memories of this installation."""
    return index.prefixes != (keys.memory_prefix,)


def _is_open_for(behind: IndexDescription | None, keys: Keys, record: SpaceRecord) -> bool:
    return behind is not None and has_open_prefix(behind, keys) and behind.vector == _vector_of(record)


def _vector_of(record: SpaceRecord) -> tuple[str, int]:
    return record.field, record.space.dimensions


def _replace(
    redis: Redis, settings: Settings, record: SpaceRecord, searched: IndexDescription | None, names: set[str]
) -> bool:
    """One step for one space; `searched` is its index with an open prefix if the alias stands for that."""
    keys = Keys(settings.key_prefix)
    old, new = keys.open_index(record.name), keys.index(record.name)
    if old not in names and searched is None:
        return True
    if new not in names:
        create_index(redis, keys, record, index_text=settings.index_text)
    made = described(redis, new)
    if made is None or made.is_filling:
        return False
    if searched is not None:
        command = scripts.move_alias(alias=keys.index_alias, current=searched.name, wanted=new)
        if not scripts.move_alias.reply(scripts.run(redis, [command])[0]):
            return False
    drop_index(redis, old)
    return True
