"""Reading what a job did: the items of its record, or of its chunks' records, with the texts from the history.

Job records hold no text. So a text that is erased from its memory's history is gone from every job's result, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emendo_client.models import ItemResult, JobInfo, Memory
from emendo_client.records import MEMORY_FIELDS, history_entry, version_entry_id, visible_memory
from emendo_client.steps import Batch, Steps
from emendo_config import Keys
from emendo_config.compact import read_json
from emendo_config.redis_io import Command, as_text

_CHUNKS_AT_A_TIME = 20
_ITEMS_AT_A_TIME = 500
# Conflicts whose caller wants to see what the memory is now.
_SHOWS_CURRENT = ("VERSION_MISMATCH", "SUPERSEDED")


def items(keys: Keys, project: str, info: JobInfo) -> Steps[list[ItemResult]]:
    """All items of a job, in their order; of a batch job that is not over, those that are known."""
    found: list[ItemResult] = []
    for page in range(pages(info)):
        found += yield from items_page(keys, project, info, page)
    return found


def pages(info: JobInfo) -> int:
    """How many calls of `items_page` read all of it."""
    return max(1, -(-info.chunks // _CHUNKS_AT_A_TIME))


def items_page(keys: Keys, project: str, info: JobInfo, page: int) -> Steps[list[ItemResult]]:
    """The page-th part of a job's items."""
    if not info.chunks:
        return (yield from _with_texts(keys, project, info.results))
    first = page * _CHUNKS_AT_A_TIME
    numbers = range(first, min(first + _CHUNKS_AT_A_TIME, info.chunks))
    replies = yield Batch(
        "control", [("HMGET", keys.job(f"{info.job_id}:{number}"), "results", "settled") for number in numbers]
    )
    found: list[ItemResult] = []
    for results, settled in replies:
        known = read_json(results or settled or "[]")
        found += [ItemResult.model_validate(item) for item in known if item is not None]
    return (yield from _with_texts(keys, project, found))


def _with_texts(keys: Keys, project: str, found: Sequence[ItemResult]) -> Steps[list[ItemResult]]:
    complete: list[ItemResult] = []
    for first in range(0, len(found), _ITEMS_AT_A_TIME):
        part = found[first : first + _ITEMS_AT_A_TIME]
        commands = [_command(keys, item) for item in part]
        wanted = [command for command in commands if command is not None]
        replies = iter((yield Batch("data", wanted)) if wanted else ())
        complete += (
            item if command is None else _completed(item, next(replies), project)
            for item, command in zip(part, commands, strict=True)
        )
    return complete


def _command(keys: Keys, item: ItemResult) -> Command | None:
    """The read that completes an item: its history entry, or the memory it was in conflict with."""
    if item.error is None and item.event is not None and item.version is not None:
        entry_id = version_entry_id(item.version)
        return ("XRANGE", keys.history(item.memory_id), entry_id, entry_id)
    if item.error is not None and item.error.get("code") in _SHOWS_CURRENT:
        return ("HMGET", keys.memory(item.memory_id), *MEMORY_FIELDS)
    return None


def _completed(item: ItemResult, reply: Any, project: str) -> ItemResult:
    if item.error is not None:
        memory = visible_memory(reply, project, include_deleted=False)
        return item.model_copy(update={"error": _showing(item.error, memory)})
    for entry_id, raw in reply:
        entry = history_entry(item.memory_id, as_text(entry_id), raw)
        shown = None if entry.is_deleted else entry.new_memory
        return item.model_copy(update={"memory": shown, "previous_memory": entry.old_memory})
    return item


def _showing(error: dict[str, Any], memory: Memory | None) -> dict[str, Any]:
    current = None if memory is None else memory.model_dump(mode="json")
    return {**error, "details": {**error.get("details", {}), "current": current}}
