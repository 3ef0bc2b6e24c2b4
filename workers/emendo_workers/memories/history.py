"""Reads of a memory's history: the memory at an earlier version, and the effect of an old job."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from emendo_client.times import iso
from emendo_config.json_codec import read_json
from emendo_config.store.formats import Applied, version_entry_id
from emendo_config.store.pipeline import as_text
from emendo_workers.jobs.operations import Operation
from emendo_workers.memories.state import Snapshot
from emendo_workers.store import Store

# Entries that are read at once, where many are looked for, and where one of the newest will do.
_PAGE, _FEW = 200, 5


def snapshot_at(store: Store, memory_id: str, version: int) -> Snapshot | None:
    """The memory at a version (before it, if that version deleted it); None when there is no such version."""
    entry_id = version_entry_id(version)
    found: Any = store.data.xrange(store.keys.history(memory_id), min=entry_id, max=entry_id)
    return _snapshot(_fields(found[0][1])) if found else None


def snapshot_before(store: Store, memory_id: str, submitted: int) -> Snapshot | None:
    """The memory before its first change that was submitted later; None when the memory began later.

    The newest older submission would be the wrong place to look. If it arrived late, its entry follows those of newer
    submissions and has their values.

    Args:
        store: connections, keys.
        memory_id: the memory.
        submitted: microseconds.
    """
    moment = iso(submitted)
    last: dict[str, str] | None = None
    for entry in _newest_first(store, memory_id):
        if entry.get("submitted_at", entry["updated_at"]) >= moment:
            last = None
        elif last is None:
            last = entry
    return _snapshot(last) if last is not None else None


def text_before(store: Store, memory_id: str, job_id: str) -> str | None:
    """The memory's text before a job changed it for the first time; None when the job made the memory."""
    for entry in _newest_first(store, memory_id, _FEW):
        if entry["job_id"] != job_id:
            return _snapshot(entry).memory
    return None


def effect_of(store: Store, operation: Operation) -> Applied | None:
    """The operation's effect on its memory, found in the history; None when it had none.

    For jobs whose applied key has expired, such as a dead letter that is replayed after days.
    """
    item = "" if operation.item is None else str(operation.item)
    for entry in _newest_first(store, operation.memory_id):
        if entry["job_id"] == operation.job_id and entry.get("item", "") == item:
            return Applied(entry["event"], int(entry["version"]))
    return None


def _newest_first(store: Store, memory_id: str, page: int = _PAGE) -> Iterator[dict[str, str]]:
    # Entries that an erasure has moved aside are newer than those that it has brought back.
    for key in (store.keys.erased_history(memory_id), store.keys.history(memory_id)):
        yield from _newest_of(store, key, page)


def _newest_of(store: Store, key: str, page: int) -> Iterator[dict[str, str]]:
    newest = "+"
    while True:
        found: Any = store.data.xrevrange(key, max=newest, min="-", count=page)
        for _, raw in found:
            yield _fields(raw)
        if len(found) < page:
            return
        newest = f"({as_text(found[-1][0])}"


def _fields(raw: Any) -> dict[str, str]:
    return {as_text(name): as_text(value) for name, value in raw.items()}


def _snapshot(entry: dict[str, str]) -> Snapshot:
    side = "new" if "new_memory" in entry else "old"
    return Snapshot(entry.get(f"{side}_memory", ""), read_json(entry.get(f"{side}_metadata") or "{}"))
