"""The records of jobs that hold something of a user: waiting jobs, dead letters and the results of dry runs.

An operation of the user gives way to one that fails with MEMORY_ERASED, so the job goes on without it. Operations that
name a memory and no user, such as an update, fail by themselves once that memory is erased.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from emendo_client.errors import MemoryNotFoundError
from emendo_client.records.jobs import stored_chunks
from emendo_config.error_codes import ErrorCode
from emendo_config.json_codec import compact_json, read_json
from emendo_config.store import scripts
from emendo_config.store.formats import chunk_id
from emendo_config.store.pipeline import Command, as_text
from emendo_workers.jobs.operations import Document
from emendo_workers.store import Store

# Jobs of one page, and records that are read in one round trip: a payload may hold a thousand texts.
_PAGE = 200
_AT_ONCE = 20
_PRIVATE = ("user_id", "memory", "previous_memory")
_OPEN = ("queued", "retrying", "running")


@dataclass(slots=True)
class RecordPage:
    """The findings in one page of a project's jobs.

    Attributes:
        last: the submission time of its last job; None after the last page.
        watched: records that are open, so that a worker may still have the content.
        counts: by kind.
    """

    last: int | None
    watched: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def clear_page(store: Store, project: str, user_id: str, after: int, until: int) -> RecordPage:
    """Clears the next page of the project's jobs, of those that were submitted after `after` and until `until`."""
    control, keys = store.control, store.keys
    listed: Any = control.zrange(
        keys.jobs(project), f"({after}", until, byscore=True, offset=0, num=_PAGE, withscores=True
    )
    page = RecordPage(int(listed[-1][1]) if len(listed) == _PAGE else None)
    ids = [as_text(job_id) for job_id, _ in listed]
    replies = scripts.run(control, [("HGET", keys.job(job_id), "chunks") for job_id in ids])
    records: list[str] = []
    for job_id, chunks in zip(ids, replies, strict=True):
        records += [job_id, *(chunk_id(job_id, number) for number in range(stored_chunks(as_text(chunks))))]
    for first in range(0, len(records), _AT_ONCE):
        _clear(store, project, user_id, records[first : first + _AT_ONCE], page)
    return page


def still_open(store: Store, project: str, user_id: str, watched: Sequence[str]) -> list[str]:
    """Those of the watched records that a worker may still have as they were; the others are clear."""
    found = RecordPage(None)
    for first in range(0, len(watched), _AT_ONCE):
        _clear(store, project, user_id, watched[first : first + _AT_ONCE], found)
    statuses = scripts.run(store.control, [("HGET", store.keys.job(each), "status") for each in watched])
    running = {each for each, status in zip(watched, statuses, strict=True) if status == b"running"}
    return sorted(running.union(found.watched))


def _clear(store: Store, project: str, user_id: str, record_ids: Sequence[str], page: RecordPage) -> None:
    fields = [("HMGET", store.keys.job(each), "status", "payload", "results", "project") for each in record_ids]
    written = compact_json(user_id)  # most records are of others, and need no parsing
    commands: list[Command] = []

    def replace(record_id: str, field: str, stored: str, kept: str) -> None:
        commands.append(scripts.redact(record=store.keys.job(record_id), field=field, stored=stored, kept=kept))

    for record_id, values in zip(record_ids, scripts.run(store.control, fields), strict=True):
        status, payload, results, owner = map(as_text, values)
        if owner != project:  # a damaged list may name records of another project
            continue
        kept = _without_user(payload, user_id) if written in payload else payload
        if kept != payload:
            replace(record_id, "payload", payload, kept)
            page.counts["jobs" if status in _OPEN else "dead_letters"] += 1
            if status in _OPEN:
                page.watched.append(record_id)
        shown = _without_proposals(results, user_id) if written in results else results
        if shown != results:
            replace(record_id, "results", results, shown)
            page.counts["dry_runs"] += 1
    scripts.run(store.control, commands)


def _without_user(payload: str, user_id: str) -> str:
    """The payload without the user's operations; a damaged one stays, since nothing can be told apart in it."""
    try:
        document = read_json(payload)
        operations: list[Document] = document["operations"]
        of_user = [each.get("user_id") == user_id and each["op"] != "erase_user" for each in operations]
    except (ValueError, TypeError, KeyError, AttributeError):
        return payload
    if not any(of_user):
        return payload
    document["operations"] = [
        _erased(each) if is_theirs else each for each, is_theirs in zip(operations, of_user, strict=True)
    ]
    return compact_json(document)


def _erased(document: Document) -> Document:
    error = MemoryNotFoundError("the user was erased", error_code=ErrorCode.MEMORY_ERASED)
    return {"op": "invalid", "memory_id": document.get("memory_id") or "", "error": error.to_dict()}


def _without_proposals(results: str, user_id: str) -> str:
    """The results of a dry run without the texts that are about the user; damaged ones stay, as above."""
    try:
        items: list[Document] = read_json(results)
        of_user = any(item.get("user_id") == user_id for item in items)
    except (ValueError, TypeError, AttributeError):
        return results
    if not of_user:
        return results
    return compact_json(
        [
            {name: value for name, value in item.items() if name not in _PRIVATE}
            if item.get("user_id") == user_id
            else item
            for item in items
        ]
    )
