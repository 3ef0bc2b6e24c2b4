"""Erasing memories from the control plane: their content leaves the payloads of dead letters and of jobs put aside.

A record holds no text but its payload, which goes when the job ends. Jobs that wait for an erased memory fail without a
dead letter. Dead letters, and jobs that were put aside, lose the memory's content here. An index from memories to their
records finds them, however many others there are.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from redis.exceptions import RedisError

from emendo_config.json_codec import compact_json, read_json
from emendo_config.store import scripts
from emendo_config.store.pipeline import as_text
from emendo_workers.jobs.operations import Delete
from emendo_workers.jobs.outcomes import ItemOutcome, Outcome
from emendo_workers.jobs.redaction import as_fact, redacted
from emendo_workers.jobs.store_outages import is_away
from emendo_workers.jobs.work import PLANNED
from emendo_workers.store import Store

_PAGE = 500
# The states of a record whose payload is worked again.
_OPEN = ("queued", "running", "retrying")


def redact_dead_letters(outcomes: Iterable[ItemOutcome], store: Store) -> None:
    """Removes the content of memories erased just now from their dead letters.

    Call it before the outcomes are recorded. If the worker dies in between, the next attempt calls it again.
    """
    erased = {
        outcome.operation.memory_id
        for outcome in outcomes
        if isinstance(outcome.operation, Delete) and outcome.operation.hard and outcome.result
    }
    if not erased:
        return
    # Housekeeping has the append-only file rewritten after this.
    at = ["erased", int(store.control_time() * 1_000)]
    scripts.run(store.control, [scripts.note(hash=store.keys.housekeeping, fields=at)])
    redact_erased(erased, store)


def redact_erased(erased: set[str], store: Store) -> int:
    """Removes the content of erased memories from their dead letters, and from jobs put aside; how many had some."""
    count = 0
    # Earlier releases keep no index. A cursor misses none of their dead letters while others come and go.
    unsorted = (as_text(record_id) for record_id, _ in store.control.zscan_iter(store.keys.unsorted_dead, count=_PAGE))
    while page := list(itertools.islice(unsorted, _PAGE)):
        count += _scrub(page, erased, store)
    # The index is read last: housekeeping moves those of the earlier releases into it.
    indexed = _indexed(erased, store)
    while page := list(itertools.islice(indexed, _PAGE)):
        count += _scrub(page, erased, store)
    return count


def _indexed(erased: set[str], store: Store) -> Iterator[str]:
    """The records in the index of these memories, in bounded pages."""
    cursors = dict.fromkeys(sorted(erased), 0)
    while cursors:
        commands = [("SSCAN", store.keys.dead_of(name), cursor, "COUNT", _PAGE) for name, cursor in cursors.items()]
        replies = scripts.run(store.control, commands)
        yield from (as_text(record_id) for _, found in replies for record_id in found)
        cursors = {name: cursor for name, (cursor, _) in zip(cursors, replies, strict=True) if cursor}


def redact_recorded(outcomes: Iterable[Outcome], store: Store) -> None:
    """Removes content from dead letters, and jobs put aside, of just now whose memories were erased meanwhile.

    That erasure looked for them before these were recorded.
    """
    kept = [outcome for outcome in outcomes if outcome.memories]
    ids = sorted({memory_id for outcome in kept for memory_id in outcome.memories})
    if not ids:
        return
    pipeline = store.data.pipeline(transaction=False)
    for memory_id in ids:
        pipeline.hexists(store.keys.memory(memory_id), "erased")
    try:
        # A key of another type gives an error, which is why its job failed; it is no erased memory.
        replies = pipeline.execute(raise_on_error=False)
    except RedisError as error:
        # Nothing is erased while the memories are out of reach. A job put aside is worked again: if its memory was
        # erased just before, it ends then, and its payload goes.
        if not is_away(error):
            raise
        return
    erased = {memory_id for memory_id, reply in zip(ids, replies, strict=True) if reply is True}
    if erased:
        _scrub([outcome.work.record_id for outcome in kept], erased, store)


def _scrub(record_ids: Sequence[str], erased: set[str], store: Store) -> int:
    control = store.control
    records = [store.keys.job(record_id) for record_id in record_ids]
    pipeline: Any = control.pipeline(transaction=False)
    for record in records:
        pipeline.hmget(record, "payload", "status")
    scrubs = []
    for record, found in zip(records, pipeline.execute(raise_on_error=False), strict=True):
        payload, status = found if isinstance(found, list) else (None, None)
        if not isinstance(payload, bytes):
            continue
        kept = _without(payload, erased, is_open=as_text(status) in _OPEN)
        if kept != payload:
            scrubs.append(scripts.redact(record=record, field="payload", stored=payload, kept=kept))
    scripts.run(control, scrubs)
    return len(scrubs)


def _without(payload: bytes, erased: set[str], *, is_open: bool) -> bytes:
    """The payload without the content of erased memories; nothing of one that names them and cannot be read.

    A plan that still waits keeps its facts: each one is decided again without the memory.
    """
    if not any(memory_id.encode() in payload for memory_id in erased):
        return payload
    try:
        document = read_json(payload)
        operations = document["operations"]
        drop = as_fact if is_open and PLANNED in document else redacted
        document["operations"] = [
            drop(operation) if operation["memory_id"] in erased else operation for operation in operations
        ]
    except (ValueError, TypeError, KeyError):
        return b""
    return compact_json(document).encode()
