"""One attempt at erasing a user: bounded steps; the payload says how far the job is.

Jobs come first, so that none of them adds a memory later. Then the user's memories are erased: live, deleted and
expired ones. The job ends when no memory is left and no worker has an older job of the user. Each step may be taken
twice.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from emendo_client.models import Event, JobStatus
from emendo_client.requests.filters import Filter
from emendo_config.json_codec import compact_json
from emendo_config.spaces.indexes import described
from emendo_config.store import scripts
from emendo_config.store.pipeline import as_text
from emendo_workers.jobs.dead_letter_erasure import redact_dead_letters
from emendo_workers.jobs.operations import Delete, EraseUser
from emendo_workers.jobs.outcomes import Outcome
from emendo_workers.jobs.work import Work
from emendo_workers.memories.apply import apply_operations
from emendo_workers.memories.erasure import finish_erasures
from emendo_workers.services import Services
from emendo_workers.store import Store
from emendo_workers.user_erasure.records import clear_page, still_open

# Seconds after which an attempt takes no further step, and until the job looks again at what others still do.
_ATTEMPT = 2.0
_POLL = 0.5
_MEMORIES = 100
# Unfinished erasures that are looked at; there are few, and housekeeping ends those that nobody comes back to.
_ERASURES = 1_000
_KINDS = ("memories", "jobs", "dead_letters", "dry_runs", "failed")
_PROGRESS = ("after", "watched", "unfinished", "failed", "counts")


def erase_user(work: Work, services: Services) -> Outcome:
    """Takes steps until the attempt's time is over; the outcome, which reports what was erased once nothing is left.

    Raises:
        RedisError: Redis failed midway; the steps are taken again.
    """
    (operation,) = work.operations
    assert isinstance(operation, EraseUser)  # the kind of the attempt
    if work.cancelled:
        return Outcome(work, JobStatus.CANCELLED)
    ends = time.monotonic() + _ATTEMPT
    while operation.after < operation.submitted:
        page = clear_page(services.store, work.project, operation.user_id, operation.after, operation.submitted)
        operation.watched += page.watched
        _count(operation, page.counts)
        operation.after = operation.submitted if page.last is None else page.last
        if time.monotonic() > ends:
            return _put_aside(work, operation, 0.0)
    while True:
        found = _memories(services.store, work.project, operation)
        is_stuck = bool(found) and not _erase(work, operation, found, services)
        if not found:
            operation.watched = still_open(services.store, work.project, operation.user_id, operation.watched)
            is_clear = not operation.watched and not _is_filling(services.store)
            if is_clear and not _memories(services.store, work.project, operation):
                return _done(work, operation)
        if is_stuck or not found or time.monotonic() > ends:
            return _put_aside(work, operation, _POLL if is_stuck or not found else 0.0)


def _memories(store: Store, project: str, operation: EraseUser) -> list[str]:
    """The next of the user's memories, whatever their state, and those whose erasure is not whole."""
    wanted = Filter()
    wanted.require("project", project)
    wanted.require("user_id", operation.user_id)
    reply: Any = store.data.execute_command(
        *("FT.SEARCH", store.keys.index_alias, wanted.clauses_only),
        *("PARAMS", len(wanted.parameters), *wanted.parameters),
        *("LIMIT", 0, _MEMORIES + len(operation.failed), "NOCONTENT"),
        *("TIMEOUT", 0, "DIALECT", 2),  # by default a search ends after half a second, with what it has found
    )
    ids = [found for key in reply[1:] if (found := store.keys.memory_id(as_text(key)))]  # a damaged one tells another
    ids = [each for each in dict.fromkeys([*operation.unfinished, *ids]) if each not in operation.failed]
    return ids or _abandoned(store, project, operation.user_id)


def _is_filling(store: Store) -> bool:
    """True while Redis fills the index, as after a loss of it: a search does not find all memories then."""
    index = described(store.data, store.keys.index_alias)
    return index is None or index.is_filling


def _abandoned(store: Store, project: str, user_id: str) -> list[str]:
    """Memories of the user whose erasure was committed and is not whole, because its worker died."""
    listed: Any = store.data.zrange(store.keys.erasures, 0, _ERASURES - 1)
    ids = [as_text(each) for each in listed]
    owners = scripts.run(store.data, [("HMGET", store.keys.memory(each), "project", "erased_user") for each in ids])
    wanted = [project.encode(), user_id.encode()]  # another project may have a user of the same name
    return [each for each, owner in zip(ids, owners, strict=True) if owner == wanted]


def _erase(work: Work, operation: EraseUser, memory_ids: list[str], services: Services) -> bool:
    """Erases the memories; False when others hold up all of them."""
    deletes = [
        Delete(job_id=work.job_id, project=work.project, submitted=work.submitted, memory_id=each, hard=True)
        for each in memory_ids
    ]
    outcomes = finish_erasures(apply_operations(deletes, services), services)
    redact_dead_letters(outcomes, services.store)
    operation.unfinished = [each.operation.memory_id for each in outcomes if each.busy]
    operation.failed += [each.operation.memory_id for each in outcomes if each.error is not None]
    erased = sum(each.result is not None and each.result["event"] == Event.DELETE for each in outcomes)
    _count(operation, {"memories": erased, "failed": sum(each.error is not None for each in outcomes)})
    return len(operation.unfinished) < len(memory_ids)


def _count(operation: EraseUser, more: dict[str, int]) -> None:
    for kind, count in more.items():
        operation.counts[kind] = operation.counts.get(kind, 0) + count


def _put_aside(work: Work, operation: EraseUser, delay: float) -> Outcome:
    progress = {name: value for name, value in asdict(operation).items() if name in _PROGRESS}
    documents = [{**work.documents[0], **progress}]
    return Outcome(
        work,
        JobStatus.RETRYING,
        [None],
        delay=delay,
        refund=True,
        payload=compact_json({**work.head, "operations": documents}),
    )


def _done(work: Work, operation: EraseUser) -> Outcome:
    counts = {kind: operation.counts.get(kind, 0) for kind in _KINDS}
    result = {"memory_id": "", "event": None, "version": None, "error": None, "erased": counts}
    return Outcome(work, JobStatus.SUCCEEDED, [result])
