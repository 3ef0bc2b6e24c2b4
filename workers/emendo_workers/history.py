"""Reads of a memory's history that workers need: the memory as it was, what a job once did."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from emendo_client._time import iso
from emendo_client.records import version_entry_id
from emendo_config.compact import read_json
from emendo_config.redis_io import as_text
from emendo_workers.operations import Operation
from emendo_workers.services import Services
from emendo_workers.state import Snapshot

_PAGE = 200


def snapshot_at(services: Services, memory_id: str, version: int) -> Snapshot | None:
    """The memory as it was at a version (for a deleted one: as it was before); None when there is no such version."""
    entry_id = version_entry_id(version)
    found: Any = services.data.xrange(services.keys.history(memory_id), min=entry_id, max=entry_id)
    return _snapshot(_fields(found[0][1])) if found else None


def snapshot_before(services: Services, memory_id: str, submitted: int) -> Snapshot | None:
    """The memory as it was before the first change that was submitted later (microseconds); None when it began later.

    Not after the newest older submission: one that arrived late stands behind newer ones, and its entry holds what
    they had set.
    """
    moment = iso(submitted)
    last: dict[str, str] | None = None
    for entry in _newest_first(services, memory_id):
        if entry["updated_at"] >= moment:
            last = None
        elif last is None:
            last = entry
    return _snapshot(last) if last is not None else None


def texts_of(services: Services, memory_id: str) -> list[str]:
    """Every text the memory ever had."""
    entries = _newest_first(services, memory_id)
    return list({entry[name]: None for entry in entries for name in ("old_memory", "new_memory") if name in entry})


def effect_of(services: Services, operation: Operation) -> str | None:
    """What the operation did to its memory (`<event>:<version>`), found in the history; None when nothing.

    For jobs older than their applied marks may become: a dead letter replayed after days, say.
    """
    item = "" if operation.item is None else str(operation.item)
    for entry in _newest_first(services, operation.memory_id):
        if entry["job_id"] == operation.job_id and entry.get("item", "") == item:
            return f"{entry['event']}:{entry['version']}"
    return None


def _newest_first(services: Services, memory_id: str) -> Iterator[dict[str, str]]:
    newest = "+"
    key = services.keys.history(memory_id)
    while True:
        page: Any = services.data.xrevrange(key, max=newest, min="-", count=_PAGE)
        for _, raw in page:
            yield _fields(raw)
        if len(page) < _PAGE:
            return
        newest = f"({as_text(page[-1][0])}"


def _fields(raw: Any) -> dict[str, str]:
    return {as_text(name): as_text(value) for name, value in raw.items()}


def _snapshot(entry: dict[str, str]) -> Snapshot:
    side = "new" if "new_memory" in entry else "old"
    return Snapshot(entry.get(f"{side}_memory", ""), read_json(entry.get(f"{side}_metadata") or "{}"))
