"""Going by all memories, page by page: those that lack a vector are queued in chunks, until a pass finds none.

A page is read and queued before the cursor moves on, so a step that dies is done again, which costs reads: chunks keep
their numbers, and what has its vector by then is not found any more.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from typing import Any

from emendo_client.batches import UNSEALED, Append, BatchRequest, Chunk
from emendo_client.diagnosis_reads import memory_ids
from emendo_client.errors import EmendoError
from emendo_client.reembedding.models import MigrationPhase
from emendo_client.reembedding.selection import Selection
from emendo_client.steps import Batch, Steps
from emendo_config.compact import compact_json
from emendo_config.queues import MAINTENANCE
from emendo_config.redis_io import as_text
from emendo_workers.reembedding.migration import Account, Migration, Wait
from emendo_workers.submitting import converse, submit_batch

# Keys one SCAN looks at, and SCANs that make a page: most keys of the database may be none of ours.
_SCAN_COUNT = 1_000
_SCANS = 20
# Full chunks that make one, too: nearly as many memories as may go into one provider request.
_CHUNKS_A_PAGE = 8
# Chunks queued for each maintenance shard, so that none of them waits for the next step.
_CHUNKS_A_SHARD = 32
# Seconds until a step looks again at chunks that are being worked.
_LOOK = 0.1
# A provider that refuses so many memories refuses them all.
MOST_FAILURES = 1_000
_CODES_SHOWN = 3
_END = "end"


def first_pass() -> dict[str, Any]:
    """The state's fields before the first page."""
    return {"pass": 1, "cursor": 0, "found": 0, "failed_before": 0, "skipped": 0}


def next_page(migration: Migration) -> Wait | bool:
    """Queues what one page lacks, or begins another pass; True when a whole pass found nothing to do.

    Raises:
        EmendoError: (MISSING_VECTORS) a pass could not embed any of what it found, and that is not allowed.
    """
    account = migration.account()
    if account.open >= _most_open(migration):
        measured = _measured(migration, account)
        if measured:
            migration.advance(measured)
        return Wait(_LOOK)
    found = migration.number("found")
    failed = account.failed - migration.number("failed_before")
    if migration.text("cursor") == _END:
        if not found:
            return True
        if failed < found:
            migration.advance(another_pass(migration))
            return False
        if migration.has("allow_missing"):
            return True
    elif failed < MOST_FAILURES or migration.has("allow_missing"):
        migration.advance({**_queue_page(migration), **_measured(migration, account)})
        return False
    raise _missing_vectors(migration, account)


def _most_open(migration: Migration) -> int:
    """Chunks that may be under way when a pass goes on; none when it is to end."""
    if migration.text("cursor") == _END:
        return 1
    return _CHUNKS_A_SHARD * migration.services.settings.maintenance_shards


def _queue_page(migration: Migration) -> dict[str, Any]:
    """Reads a page and queues its chunks; the state after it."""
    services, number = migration.services, migration.number("chunk")
    filters = migration.filters if migration.number("pass") == 1 else None
    selection = Selection(migration.target, filters)
    cursor, looked_at, found = converse(services, _page(migration, selection))
    parts = _evenly(found, services.settings.chunk_items)
    chunks = [_chunk(number + place, part, selection) for place, part in enumerate(parts)]
    if chunks:
        request = BatchRequest(
            migration.work.job_id, migration.work.kind, migration.work.project, [], MAINTENANCE, consistency="weak"
        )
        submit_batch(services, request, [Append(chunks, is_first=False, seal=UNSEALED)])
    is_first = migration.number("pass") == 1
    return {
        "cursor": cursor or _END,
        "chunk": number + len(chunks),
        "found": migration.number("found") + len(found),
        "skipped": migration.number("skipped") + (looked_at - len(found) if is_first else 0),
    }


def _page(migration: Migration, selection: Selection) -> Steps[tuple[int, int, list[str]]]:
    """The cursor after it, how many memories it has, and those of them to embed."""
    keys, most = migration.services.keys, _CHUNKS_A_PAGE * migration.services.settings.chunk_items
    cursor, looked_at = migration.number("cursor"), 0
    found: dict[str, None] = {}
    for _ in range(_SCANS):
        cursor, ids = yield from memory_ids(keys, cursor, _SCAN_COUNT)
        looked_at += len(ids)
        if ids:
            reads = [selection.reads(keys.memory(name)) for name in ids]
            replies = iter((yield Batch("data", list(itertools.chain.from_iterable(reads)))))
            pairs = zip(ids, reads, strict=True)
            found.update((name, None) for name, read in pairs if selection.finds(*itertools.islice(replies, len(read))))
        if not cursor or len(found) >= most:
            break
    return cursor, looked_at, list(found)


def _evenly(memory_ids: list[str], most: int) -> list[list[str]]:
    """As few parts as there can be, none much smaller than another: shards get chunks in turn, and end together."""
    count = -(-len(memory_ids) // most)
    size = -(-len(memory_ids) // count) if count else 1
    return [memory_ids[first : first + size] for first in range(0, len(memory_ids), size)]


def _chunk(number: int, memory_ids: list[str], selection: Selection) -> Chunk:
    extra = {"anew": True} if selection.filters is not None else {}
    space = selection.record.name
    return Chunk(
        number,
        0,
        [compact_json({"op": "embed", "memory_id": each, "space": space, **extra}) for each in memory_ids],
    )


def another_pass(migration: Migration) -> dict[str, Any]:
    """The state's fields before the next pass."""
    phase = MigrationPhase.CATCHING_UP if migration.phase is MigrationPhase.BACKFILL else migration.phase
    return {
        "phase": phase,
        "pass": migration.number("pass") + 1,
        "cursor": 0,
        "found": 0,
        "failed_before": migration.account().failed,
    }


def _missing_vectors(migration: Migration, account: Account) -> EmendoError:
    services = migration.services
    missing = account.failed - migration.number("failed_before")
    codes: Any = services.control.hvals(services.keys.migration_failures)
    counted = ", ".join(f"{count} × {as_text(code)}" for code, count in Counter(codes).most_common(_CODES_SHOWN))
    migration.advance(another_pass(migration))  # which begins when somebody asks to go on
    return EmendoError(
        f"{missing} memories cannot be embedded ({counted or 'for reasons the logs have'})",
        error_code="MISSING_VECTORS",
        details={"missing": missing},
        suggestion="migration() lists them; mend what is wrong and resume_reembed(), go on without them with "
        "resume_reembed(allow_missing=True), or give it up with rollback_reembed()",
    )


def _measured(migration: Migration, account: Account) -> dict[str, Any]:
    """The rate, measured about every second; half of what it was before counts."""
    now, done = time.time(), account.succeeded
    since = now - migration.seconds("measured_at")
    if since < 1:
        return {}
    known = {"measured_at": now, "measured_done": done}
    if not migration.has("measured_at"):
        return known
    rate = (done - migration.number("measured_done")) / since
    before = migration.seconds("rate") if migration.has("rate") else rate
    return {**known, "rate": f"{(rate + before) / 2:.3f}"}
