"""Waiting conflicts, read into `Conflict`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emendo_client.models import Conflict, Event
from emendo_client.records.memories import memory_document
from emendo_client.times import moment_of
from emendo_config.json_codec import read_json


def waiting_conflict(project: str, conflict_id: str, arose: int, raw: Any, values: Sequence[Any]) -> Conflict | None:
    """A waiting conflict, from its document and the memory as it is now.

    It is None when it is resolved, erased or damaged, or when the memory is another project's.

    Args:
        project: the one whose list names it.
        conflict_id: its id.
        arose: time of the conflict, in microseconds.
        raw: the stored document, as the worker's `three_way_merge` made it.
        values: the memory's values of MEMORY_FIELDS.
    """
    try:
        memory = memory_document(values)
        return _waiting(conflict_id, arose, raw, memory) if memory and memory["project"] == project else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _waiting(conflict_id: str, arose: int, raw: Any, memory: dict[str, Any]) -> Conflict | None:
    if raw is None:
        return None
    document = read_json(raw)
    ours = document.get("metadata", {})
    proposal = Event(document.get("op", "update").upper())
    text_waits = "memory" in document or proposal is Event.DELETE
    return Conflict.model_validate(
        {
            **document,
            "id": conflict_id,
            "memory_id": memory["id"],
            "submitted_at": moment_of(str(document["submitted"])),
            "created_at": moment_of(str(arose)),
            "proposal": proposal,
            "base": document.get("base_memory"),
            "ours": document.get("memory"),
            "theirs": memory["memory"] if text_waits else None,
            "base_metadata": document.get("base_metadata", {}),
            "our_metadata": ours,
            "their_metadata": {key: memory["metadata"].get(key) for key in ours},
            "current_version": int(memory["version"]),
            "prompt_version": document.get("prompt"),
        }
    )
