"""Passes over all memories, page by page: memories that lack a vector are queued in chunks until a pass finds none.

A page is read and queued before the cursor moves. If a step dies it is repeated, which only costs reads. Chunks keep
their numbers, and memories that have their vector by then are not found again.
"""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

from emendo_client.errors import EmendoError
from emendo_client.exchanges.exchange import Exchange, RoundTrip
from emendo_client.exchanges.reembedding.models import MigrationPhase
from emendo_client.exchanges.reembedding.selection import Selection
from emendo_client.exchanges.scan import memory_ids
from emendo_client.requests.batches import UNSEALED, Append, BatchRequest, Chunk
from emendo_config.error_codes import ErrorCode
from emendo_config.json_codec import compact_json
from emendo_config.queues import MAINTENANCE
from emendo_config.store.pipeline import as_text
from emendo_workers.jobs.submit import run_exchange, submit_batch
from emendo_workers.reembedding.migration import ChunkCounts, Migration, Wait

# Keys of one SCAN, and SCANs of one page at most: few keys of the database may be memories.
_SCAN_COUNT = 1_000
_SCANS_PER_PAGE = 20
# Full chunks of one page: nearly as many memories as one provider request may hold.
_CHUNKS_PER_PAGE = 8
# Failures that are read in one step.
_PAGE = 1_000
# Chunks queued for each maintenance shard, so that no shard waits for the next step.
_CHUNKS_PER_SHARD = 32
# Seconds until a step looks again at open chunks.
_POLL = 0.1
# After so many failures in one pass the provider most likely refuses every memory.
MAX_FAILURES = 1_000
_CODES_SHOWN = 3
_END = "end"


def first_pass_fields() -> dict[str, Any]:
    """The fields of the state before the first page."""
    return {"pass": 1, "cursor": 0, "found": 0, "failed_before": 0, "skipped": 0}


def queue_next_page(migration: Migration) -> Wait | bool:
    """Queues one page, or begins the next pass; True when a whole pass found no memory that lacks a vector.

    Raises:
        EmendoError: (MISSING_VECTORS) a pass could embed none of its memories, and the job does not allow that.
    """
    counts = migration.chunk_counts()
    if counts.open >= _max_open(migration):
        rate = _rate_fields(migration, counts)
        if rate:
            migration.advance(rate)
        return Wait(_POLL)
    found = migration.number("found")
    failed = counts.failed - migration.number("failed_before")
    if migration.text("cursor") == _END:
        if not found:
            return True
        if failed < found:
            migration.advance(next_pass_fields(migration))
            return False
        if migration.has("allow_missing"):
            return True
    elif failed < MAX_FAILURES or migration.has("allow_missing"):
        migration.advance({**_queue_page(migration), **_rate_fields(migration, counts)})
        return False
    raise _missing_vectors(migration, counts)


def _max_open(migration: Migration) -> int:
    """A page is queued only while fewer chunks than this are open; a pass ends only when none is."""
    if migration.text("cursor") == _END:
        return 1
    return _CHUNKS_PER_SHARD * migration.store.settings.maintenance_shards


def _queue_page(migration: Migration) -> dict[str, Any]:
    """Reads a page and queues its chunks; the fields of the state after it."""
    store, number = migration.store, migration.number("chunk")
    filters = migration.filters if migration.number("pass") == 1 else None
    selection = Selection(migration.target, filters)
    cursor, looked_at, found = run_exchange(store, _page(migration, selection))
    parts = _evenly(found, store.settings.chunk_items)
    chunks = [_chunk(number + place, part, selection) for place, part in enumerate(parts)]
    if chunks:
        request = BatchRequest(
            migration.work.job_id, migration.work.kind, migration.work.project, [], MAINTENANCE, consistency="weak"
        )
        submit_batch(store, migration.notifier, request, [Append(chunks, is_first=False, seal=UNSEALED)])
    is_first = migration.number("pass") == 1
    return {
        "cursor": cursor or _END,
        "chunk": number + len(chunks),
        "found": migration.number("found") + len(found),
        "skipped": migration.number("skipped") + (looked_at - len(found) if is_first else 0),
    }


def _page(migration: Migration, selection: Selection) -> Exchange[tuple[int, int, list[str]]]:
    """One page: the cursor after it, how many memories it has, and the ids of those to embed."""
    keys, most = migration.store.keys, _CHUNKS_PER_PAGE * migration.store.settings.chunk_items
    cursor, looked_at = migration.number("cursor"), 0
    found: dict[str, None] = {}
    for _ in range(_SCANS_PER_PAGE):
        cursor, ids = yield from memory_ids(keys, cursor, _SCAN_COUNT)
        looked_at += len(ids)
        if ids:
            reads = [selection.reads(keys.memory(name)) for name in ids]
            replies = iter((yield RoundTrip("data", list(itertools.chain.from_iterable(reads)))))
            pairs = zip(ids, reads, strict=True)
            found.update((name, None) for name, read in pairs if selection.finds(*itertools.islice(replies, len(read))))
        if not cursor or len(found) >= most:
            break
    return cursor, looked_at, list(found)


def _evenly(memory_ids: list[str], most: int) -> list[list[str]]:
    """As few parts as possible, of nearly equal size: shards get chunks in turn, and so end together."""
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


def next_pass_fields(migration: Migration) -> dict[str, Any]:
    """The fields of the state before the next pass."""
    phase = MigrationPhase.CATCHING_UP if migration.phase is MigrationPhase.BACKFILL else migration.phase
    return {
        "phase": phase,
        "pass": migration.number("pass") + 1,
        "cursor": 0,
        "found": 0,
        "failed_before": migration.chunk_counts().failed,
    }


def _missing_vectors(migration: Migration, counts: ChunkCounts) -> EmendoError:
    store = migration.store
    missing = counts.failed - migration.number("failed_before")
    codes = (code for _, code in store.control.hscan_iter(store.keys.migration_failures, count=_PAGE))
    counted = ", ".join(f"{count} × {as_text(code)}" for code, count in Counter(codes).most_common(_CODES_SHOWN))
    migration.advance(next_pass_fields(migration))  # it begins when the job is resumed
    return EmendoError(
        f"{missing} memories cannot be embedded ({counted or 'the logs name the reasons'})",
        error_code=ErrorCode.MISSING_VECTORS,
        details={"missing": missing},
        suggestion="list them with migration(), remove the cause and call resume_reembed(); go on without them with "
        "resume_reembed(allow_missing=True); or give up with rollback_reembed()",
    )


def _rate_fields(migration: Migration, counts: ChunkCounts) -> dict[str, Any]:
    """The fields of the rate, measured about every second: the mean of the new rate and the one before."""
    now, done = migration.store.control_time(), counts.succeeded
    since = now - migration.seconds("measured_at")
    if since < 1:
        return {}
    known = {"measured_at": now, "measured_done": done}
    if not migration.has("measured_at"):
        return known
    rate = (done - migration.number("measured_done")) / since
    before = migration.seconds("rate") if migration.has("rate") else rate
    return {**known, "rate": f"{(rate + before) / 2:.3f}"}
