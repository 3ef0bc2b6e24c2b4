"""Burial: records that no worker here can read become dead letters, as they are.

Nothing of the record is parsed again without a guard. The ending puts missing fields in place. So the account of a
batch job balances, and a replay finds the shard.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from emendo_client.errors import EmendoError
from emendo_client.records.jobs import stored_chunks
from emendo_config.error_codes import ErrorCode
from emendo_config.json_codec import compact_json
from emendo_config.store import scripts
from emendo_config.store.formats import chunk_id, chunk_of, job_of
from emendo_config.store.pipeline import as_text
from emendo_workers.jobs.work import Entry, UnreadableRecordError, read_field, settled_items
from emendo_workers.store import Store

logger = logging.getLogger(__name__)

# Memories that an unreadable payload names, as far as one can tell.
_MEMORY_ID = re.compile(rb'(?<="memory_id":")[^"\\]{1,256}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}')
_SCAN_COUNT = 1_000
# Pages of keys looked at for the owner of a record that does not name one.
_MOST_PAGES = 200


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that cannot be read, whose attempt has begun.

    Attributes:
        attempt: the attempt's token.
        field: the one that is missing or damaged; OTHER_TYPE when the key holds no hash, which is moved aside.
    """

    entry: Entry
    attempt: str
    field: str


def burial(store: Store, unreadable: Unreadable) -> scripts.Ending:
    """The ending that makes a dead letter of the record.

    Raises:
        RedisError: the control Redis failed.
    """
    keys, record_id = store.keys, unreadable.entry.record_id
    record, job_id = keys.job(record_id), job_of(record_id)
    is_chunk = job_id != record_id
    if unreadable.field == scripts.OTHER_TYPE:
        displaced = scripts.displace(
            record=record,
            damaged=keys.damaged(record_id),
            attempt=unreadable.attempt,
            ttl=store.settings.job_ttl,
        )
        scripts.run(store.control, [displaced])
    names = ("kind", "project", "memory_id", "items", "settled", "payload", "shard")
    values: list[Any] = store.control.hmget(record, names)
    kind, project, memory_id, items, settled, payload, shard = values
    if is_chunk:
        kind, project = (
            inherited or own for own, inherited in zip((kind, project), _of_job(store, job_id), strict=True)
        )
    owner = _valid(project) or _owner_of(store, job_id)
    error = EmendoError(
        "this worker cannot read the job's record",
        error_code=ErrorCode.PAYLOAD_UNREADABLE,
        details={"field": unreadable.field},
        suggestion="upgrade the workers to the clients' release or repair the record, then replay the job",
    ).to_dict()
    known = _settled(settled)
    count = _items(items)
    if count is None:
        count = _items_left(store, record_id) if is_chunk else 1
    places = range(max(count, *(place + 1 for place in known), 0 if is_chunk else 1))
    results = [known.get(place) or {"memory_id": as_text(memory_id), "error": error} for place in places]
    failed = sum(bool(item.get("error")) for item in results)
    memories = sorted({as_text(each) for each in (memory_id, *_MEMORY_ID.findall(payload or b"")) if each})
    is_kept = payload is not None and not _is_erased(store, memories)
    logger.error(
        "a job's record cannot be read and is a dead letter",
        extra={"job": record_id, "field": unreadable.field, "project": owner},
    )
    outcome: dict[str, Any] = {
        "job": record_id,
        "entry": unreadable.entry.id,
        "attempt": unreadable.attempt,
        "status": "failed",
        "project": owner,
        "dead": True,
        "succeeded": len(results) - failed,
        "failed": failed,
        "error": compact_json(error),
        "repaired": {
            "id": record_id,
            "kind": as_text(kind),
            "project": owner,
            "shard": as_text(shard) or unreadable.entry.inbox.removeprefix(keys.inbox("")),
        },
    }
    if is_chunk:
        outcome["repaired"]["items"] = str(count)
    if memories:
        outcome["memories"] = memories
    if not is_kept:
        outcome["payload"] = ""
    return scripts.Ending(record, keys.job(job_id), keys.conflicts(owner), compact_json(outcome), compact_json(results))


def _valid(project: Any) -> str:
    try:
        return (project or b"").decode()
    except UnicodeDecodeError:
        return ""


def _of_job(store: Store, job_id: str) -> Sequence[Any]:
    """Kind and project of a batch job's own record."""
    read = scripts.run_each(store.control, [("HMGET", store.keys.job(job_id), "kind", "project")])[0]
    return read if isinstance(read, list) else (None, None)


def _owner_of(store: Store, job_id: str) -> str:
    """The project that lists the job; empty when a bounded search does not find it."""
    prefix, cursor = store.keys.jobs(""), 0
    for _ in range(_MOST_PAGES):
        cursor, found = store.control.scan(cursor, match=f"{prefix}*", count=_SCAN_COUNT)
        scores = scripts.run_each(store.control, [("ZSCORE", key, job_id) for key in found])
        for key, score in zip(found, scores, strict=True):
            if score is not None and not isinstance(score, Exception):
                return as_text(key).removeprefix(prefix)
        if not cursor:
            break
    return ""


def _settled(stored: Any) -> dict[int, Any]:
    try:
        return read_field("settled", stored, settled_items) if stored else {}
    except UnreadableRecordError:
        return {}


def _items(stored: Any) -> int | None:
    text = as_text(stored)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 8 else None  # noqa: PLR2004  # no job has more


def _items_left(store: Store, record_id: str) -> int:
    """The items of a chunk that does not say how many: its share of those that no other chunk counts."""
    keys, job_id = store.keys, job_of(record_id)
    whole, chunks = store.control.hmget(keys.job(job_id), "items", "chunks")
    numbers = range(stored_chunks(as_text(chunks)))
    commands = [("HGET", keys.job(chunk_id(job_id, number)), "items") for number in numbers]
    counts = [
        None if isinstance(reply, Exception) else _items(reply) for reply in scripts.run_each(store.control, commands)
    ]
    silent = [str(number) for number, count in zip(numbers, counts, strict=True) if count is None]
    left = max(0, (_items(whole) or 0) - sum(count or 0 for count in counts))
    if chunk_of(record_id) not in silent:
        return left
    # Several chunks may have lost their counts. Together they have no more items than there are.
    each, more = divmod(left, len(silent))
    return each + (silent.index(chunk_of(record_id)) < more)


def _is_erased(store: Store, memories: Sequence[str]) -> bool:
    """True when one of the memories was erased meanwhile."""
    replies = scripts.run_each(store.data, [("HEXISTS", store.keys.memory(each), "erased") for each in memories])
    return any(reply and not isinstance(reply, Exception) for reply in replies)
