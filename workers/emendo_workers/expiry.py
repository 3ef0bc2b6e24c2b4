"""Memories whose time has come: hidden from reads at once, and marked with a history entry by this sweep."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from redis.exceptions import ResponseError

from emendo_client.batches import BatchBuilder
from emendo_config.queues import MAINTENANCE
from emendo_config.redis_io import as_text
from emendo_workers.services import Services
from emendo_workers.submitting import submit_batch

# Memories one sweep takes; the next one goes on.
MOST_AT_ONCE = 10_000


def expire_memories(services: Services, now: float) -> int:
    """Submits an `expire` batch job for each project that has expired memories; how many memories there are.

    Args:
        services: the worker's.
        now: seconds since the epoch.

    A memory that is asked for twice is marked once: the second time there is nothing to do.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for project, memory_id in _expired(services, int(now * 1000)):
        found[project].append(memory_id)
    for project, ids in found.items():
        documents = ({"op": "expire", "memory_id": memory_id} for memory_id in ids)
        builder = BatchBuilder(services.settings, project)
        submit_batch(services, builder.documents("expire", documents, MAINTENANCE))
    return sum(map(len, found.values()))


def _expired(services: Services, now_ms: int) -> list[tuple[str, str]]:
    try:
        reply: Any = services.data.execute_command(
            *("FT.SEARCH", services.keys.index_alias, f"@is_deleted:{{0}} @expires_ms:[-inf {now_ms}]"),
            *("RETURN", 2, "project", "id", "LIMIT", 0, MOST_AT_ONCE, "DIALECT", 2),
        )
    except ResponseError as error:
        if "index" in str(error).lower():  # no memory was ever written
            return []
        raise
    pairs = []
    for flat in reply[2::2]:
        fields = dict(zip(map(as_text, flat[::2]), map(as_text, flat[1::2]), strict=True))
        if len(fields) == 2:  # noqa: PLR2004  # gone between the index's answer and the read of its fields
            pairs.append((fields["project"], fields["id"]))
    return pairs
