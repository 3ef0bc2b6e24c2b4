"""Removes a space: its index, its vector in every memory, its record in the registry."""

from __future__ import annotations

from dataclasses import replace

from emendo_client.exchanges.scan import memory_ids
from emendo_config.embedding_space import VECTOR_PREFIX
from emendo_config.spaces.indexes import drop_indexes
from emendo_config.spaces.registry import SpaceState, remove_space, save_space
from emendo_config.store import scripts
from emendo_workers.jobs.submit import run_exchange
from emendo_workers.reembedding.migration import Migration

_SCAN_COUNT = 1_000
_END = "end"


def first_drop_fields() -> dict[str, int]:
    """The fields of the state before the first page."""
    return {"cursor": 0, "found": 0}


def drop_next_page(migration: Migration, name: str, stays: str) -> bool:
    """Removes a space from one page of memories; True when a whole pass found nothing left of it.

    Args:
        migration: its cursor names the page.
        name: the space to remove.
        stays: the active space.
    """
    store, keys = migration.store, migration.store.keys
    if migration.text("cursor") == "0":
        _stop_using(migration, name)
    elif migration.text("cursor") == _END:
        if migration.number("found"):  # a worker with an older registry may have written since
            migration.advance(first_drop_fields())
            return False
        remove_space(store.data, keys, name)
        return True
    remaining = migration.registered(stays)
    model = remaining.space.model if remaining is not None else ""
    cursor, ids = run_exchange(store, memory_ids(keys, migration.number("cursor"), _SCAN_COUNT))
    commands = [
        scripts.drop_vector(memory=keys.memory(memory_id), space=name, field=f"{VECTOR_PREFIX}{name}", model=model)
        for memory_id in ids
    ]
    dropped = sum(scripts.run(store.data, commands))
    migration.advance({"cursor": cursor or _END, "found": migration.number("found") + dropped})
    return False


def _stop_using(migration: Migration, name: str) -> None:
    """Tells writers to leave the space, and drops its index."""
    store = migration.store
    record = migration.registered(name)
    if record is not None:
        save_space(store.data, store.keys, replace(record, state=SpaceState.DROPPING))
    drop_indexes(store.data, store.keys, name)
