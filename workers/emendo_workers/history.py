"""Reads of a memory's history that workers need: a version to go back to, a result to answer again."""

from __future__ import annotations

import json
from typing import Any

from emendo_config.redis_io import as_text
from emendo_workers.decide import Snapshot
from emendo_workers.services import Services

_PAGE = 200


def snapshot_at(services: Services, memory_id: str, version: int) -> Snapshot | None:
    """The memory as it was at a version (for a deleted one: as it was before); None when there is no such version."""
    entry = _entry(services, memory_id, version)
    if entry is None:
        return None
    side = "new" if "new_memory" in entry else "old"
    return Snapshot(entry.get(f"{side}_memory", ""), json.loads(entry.get(f"{side}_metadata") or "{}"))


def replayed_result(services: Services, memory_id: str, applied: str) -> dict[str, Any]:
    """The result item of a job that was applied before, from its mark (`<event>:<version>`) and its history entry."""
    event, _, version = applied.partition(":")
    entry = _entry(services, memory_id, int(version)) or {}
    return {
        "memory_id": memory_id,
        "event": event,
        "memory": None if entry.get("is_deleted") == "1" else entry.get("new_memory"),
        "previous_memory": entry.get("old_memory"),
        "version": int(version),
        "error": None,
    }


def _entry(services: Services, memory_id: str, version: int) -> dict[str, str] | None:
    """The history entry of one version, newest first: replays and restores mostly ask for recent ones."""
    newest = "+"
    key = services.keys.history(memory_id)
    while True:
        page: Any = services.data.xrevrange(key, max=newest, min="-", count=_PAGE)
        for _, raw in page:
            entry = {as_text(name): as_text(value) for name, value in raw.items()}
            if int(entry["version"]) == version:
                return entry
        if len(page) < _PAGE:
            return None
        newest = f"({as_text(page[-1][0])}"
