"""A job's results: the items of its record, or of its chunks' records, with the texts from the history.

Job records hold no text, so erasing a memory's history removes its text from every job's result too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emendo_client.exchanges.exchange import Exchange, RoundTrip
from emendo_client.models import ItemResult, JobInfo, Memory
from emendo_client.records.history import history_entries
from emendo_client.records.jobs import require_record, stored_items
from emendo_client.records.memories import DAMAGES, note_damage, readable_memory
from emendo_config import Keys
from emendo_config.error_codes import ErrorCode
from emendo_config.store.clock import seconds_of
from emendo_config.store.format_versions import FORMAT
from emendo_config.store.formats import chunk_id, version_entry_id
from emendo_config.store.memory_fields import MEMORY_FIELDS
from emendo_config.store.pipeline import Command, as_text

_CHUNKS_AT_A_TIME = 20
_ITEMS_AT_A_TIME = 500
# Conflicts whose details show the current memory.
_SHOWS_CURRENT = (ErrorCode.VERSION_MISMATCH, ErrorCode.SUPERSEDED)


def items(keys: Keys, project: str, info: JobInfo) -> Exchange[list[ItemResult]]:
    """All items of a job, in their order; of a running batch job, the items known so far."""
    found: list[ItemResult] = []
    for page in range(pages(info)):
        found += yield from items_page(keys, project, info, page)
    return found


def pages(info: JobInfo) -> int:
    """The number of pages that `items_page` reads."""
    return max(1, -(-info.chunks // _CHUNKS_AT_A_TIME))


def items_page(keys: Keys, project: str, info: JobInfo, page: int) -> Exchange[list[ItemResult]]:
    """One page of a job's items; pages count from 0."""
    if not info.chunks:
        return (yield from _with_texts(keys, project, info.results))
    first = page * _CHUNKS_AT_A_TIME
    numbers = range(first, min(first + _CHUNKS_AT_A_TIME, info.chunks))
    replies = yield RoundTrip(
        "control",
        [("HMGET", keys.job(chunk_id(info.job_id, number)), "results", "settled", FORMAT) for number in numbers],
    )
    found: list[ItemResult] = []
    for results, settled, stated in replies:
        require_record(stated)
        known = stored_items(results or settled)
        found += [ItemResult.model_validate(item) for item in known if item is not None]
    return (yield from _with_texts(keys, project, found))


def _with_texts(keys: Keys, project: str, found: Sequence[ItemResult]) -> Exchange[list[ItemResult]]:
    complete: list[ItemResult] = []
    for first in range(0, len(found), _ITEMS_AT_A_TIME):
        part = found[first : first + _ITEMS_AT_A_TIME]
        commands = [_commands(keys, item) for item in part]
        wanted = [command for each in commands for command in each]
        replies = iter((yield RoundTrip("data", [("TIME",), *wanted])) if wanted else ((0, 0),))
        now = seconds_of(next(replies))
        complete += (
            _completed(item, [next(replies) for _ in each], project, now)
            for item, each in zip(part, commands, strict=True)
        )
    return complete


def _commands(keys: Keys, item: ItemResult) -> list[Command]:
    """The reads that complete an item.

    They are its history entry and the one before, with the memory's project; or the memory that it conflicts with.
    """
    if item.error is None and item.event is not None and item.version is not None:
        first, last = version_entry_id(item.version - 1), version_entry_id(item.version)  # the text before is there
        return [
            ("HGET", keys.memory(item.memory_id), "project"),
            ("XRANGE", keys.history(item.memory_id), first, last, "COUNT", 2),
        ]
    if item.error is not None and item.error.get("code") in _SHOWS_CURRENT:
        return [("HMGET", keys.memory(item.memory_id), *MEMORY_FIELDS)]
    return []


def _completed(item: ItemResult, replies: list[Any], project: str, now: float) -> ItemResult:
    if not replies:
        return item
    if item.error is not None:
        memory = readable_memory(replies[0], project, now, include_deleted=False)
        return item.model_copy(update={"error": _showing(item.error, memory)})
    owner, entries = replies
    if as_text(owner) != project:  # a record that names another project's memory is damaged
        return item
    try:
        *_, entry = [None, *history_entries(item.memory_id, entries)]
    except DAMAGES:  # the other items must not notice
        note_damage(item.memory_id)
        return item
    if entry is not None and entry.version == item.version:
        shown = None if entry.is_deleted else entry.new_memory
        return item.model_copy(update={"memory": shown, "previous_memory": entry.old_memory})
    return item


def _showing(error: dict[str, Any], memory: Memory | None) -> dict[str, Any]:
    current = None if memory is None else memory.model_dump(mode="json")
    return {**error, "details": {**error.get("details", {}), "current": current}}
