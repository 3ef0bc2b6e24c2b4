"""Removing a space: its index, its vector in every memory, its place in the registry."""

from __future__ import annotations

from dataclasses import replace

from redis.exceptions import ResponseError

from emendo_client.diagnosis_reads import memory_ids
from emendo_config.index import is_unknown_index
from emendo_config.registry import SpaceState, remove_space, save_space
from emendo_config.spaces import VECTOR_PREFIX
from emendo_workers import scripts
from emendo_workers.reembedding.migration import Migration
from emendo_workers.services import Services
from emendo_workers.submitting import converse

_SCAN_COUNT = 1_000
_END = "end"


def first_drop() -> dict[str, int]:
    """The state's fields before the first page."""
    return {"cursor": 0, "found": 0}


def next_drop(migration: Migration, name: str, stays: str) -> bool:
    """Removes a space from one page of memories; True when a whole pass found nothing left of it.

    Args:
        migration: whose cursor says which page.
        name: of the space that goes.
        stays: of the one that is searched.
    """
    services, keys = migration.services, migration.services.keys
    if migration.text("cursor") == "0":
        _stop_using(services, migration, name)
    elif migration.text("cursor") == _END:
        if migration.number("found"):  # who had read the registry before may have written since
            migration.advance(first_drop())
            return False
        remove_space(services.data, keys, name)
        return True
    remaining = migration.registered(stays)
    model = remaining.space.model if remaining is not None else ""
    cursor, ids = converse(services, memory_ids(keys, migration.number("cursor"), _SCAN_COUNT))
    commands = [
        scripts.drop(keys.memory(memory_id), space=name, field=f"{VECTOR_PREFIX}{name}", model=model)
        for memory_id in ids
    ]
    dropped = sum(scripts.run(services.data, commands))
    migration.advance({"cursor": cursor or _END, "found": migration.number("found") + dropped})
    return False


def _stop_using(services: Services, migration: Migration, name: str) -> None:
    """Tells writers to leave the space, and frees its index."""
    record = migration.registered(name)
    if record is not None:
        save_space(services.data, services.keys, replace(record, state=SpaceState.DROPPING))
    try:
        services.data.execute_command("FT.DROPINDEX", services.keys.index(name))
    except ResponseError as error:
        if not is_unknown_index(error):
            raise
