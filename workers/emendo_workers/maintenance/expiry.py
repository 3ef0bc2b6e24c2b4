"""Expired memories: reads hide them at once, and this sweep deletes them with a history entry each."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from redis.exceptions import ResponseError

from emendo_client.requests.batch_items import BatchBuilder
from emendo_client.transport.wakeup import ShardNotifier
from emendo_config.queues import MAINTENANCE
from emendo_config.store.pipeline import as_text
from emendo_workers.jobs.submit import submit_batch
from emendo_workers.store import Store

# Memories of one sweep; the next sweep takes the rest.
MAX_EXPIRED = 10_000


def expire_memories(store: Store, notifier: ShardNotifier, now: float) -> int:
    """Submits an `expire` batch job for each project that has expired memories.

    It is safe to name a memory twice: the second operation finds nothing to do.

    Args:
        store: the worker's.
        notifier: wakes the shards of the jobs.
        now: seconds since the epoch.

    Returns:
        How many memories have expired.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for project, memory_id in _expired(store, int(now * 1000)):
        found[project].append(memory_id)
    for project, ids in found.items():
        documents = ({"op": "expire", "memory_id": memory_id} for memory_id in ids)
        builder = BatchBuilder(store.settings, project)
        submit_batch(store, notifier, builder.documents("expire", documents, MAINTENANCE))
    return sum(map(len, found.values()))


def _expired(store: Store, now_ms: int) -> list[tuple[str, str]]:
    try:
        reply: Any = store.data.execute_command(
            *("FT.SEARCH", store.keys.index_alias, f"@is_deleted:{{0}} @expires_ms:[-inf {now_ms}]"),
            *("RETURN", 2, "project", "id", "LIMIT", 0, MAX_EXPIRED, "DIALECT", 2),
        )
    except ResponseError as error:
        if "index" in str(error).lower():  # no memory was ever written
            return []
        raise
    pairs = []
    for flat in reply[2::2]:
        fields = dict(zip(map(as_text, flat[::2]), map(as_text, flat[1::2]), strict=True))
        if len(fields) == 2:  # noqa: PLR2004  # else the memory went between the search and the read of its fields
            pairs.append((fields["project"], fields["id"]))
    return pairs
