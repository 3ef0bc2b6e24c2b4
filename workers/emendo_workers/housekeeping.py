"""The periodic work beat asks for: lists that name what is gone are trimmed, expired memories are marked."""

from __future__ import annotations

import logging
from typing import Any

from emendo_client.records import split_conflict_id
from emendo_config.redis_io import as_text
from emendo_workers.expiry import expire_memories
from emendo_workers.services import Services

logger = logging.getLogger(__name__)


def keep_house(services: Services, now: float) -> dict[str, int]:
    """Trims lists that name what is gone, and marks memories that have expired.

    Args:
        services: the worker's.
        now: seconds since the epoch.

    Returns:
        How many lists there are, entries were removed from them, and memories were found expired.
    """
    control, keys = services.control, services.keys
    horizon = int((now - services.settings.job_ttl) * 1_000_000)
    removed = lists = 0
    for jobs in control.scan_iter(match=f"{keys.jobs('')}*", count=1_000):
        lists += 1
        removed += _trim(services, jobs, horizon)
    for conflicts in control.scan_iter(match=f"{keys.conflicts('')}*", count=1_000):
        lists += 1
        removed += _drop_resolved(services, conflicts)
    kept = {"lists": lists, "removed": removed, "expired": expire_memories(services, now)}
    logger.info("house kept", extra=kept)
    return kept


def _drop_resolved(services: Services, conflicts: Any) -> int:
    """Conflicts of memories that were erased meanwhile are listed no more."""
    control, keys = services.control, services.keys
    listed: list[Any] = control.zrange(conflicts, 0, -1)
    pipeline = services.data.pipeline(transaction=False)
    for conflict_id in listed:
        memory_id, mark = split_conflict_id(as_text(conflict_id))
        pipeline.hexists(keys.conflict(memory_id), mark)
    gone = [each for each, exists in zip(listed, pipeline.execute(), strict=True) if not exists]
    return int(control.zrem(conflicts, *gone)) if gone else 0


def _trim(services: Services, jobs: Any, horizon: int) -> int:
    """Old entries go when their record is gone; a job that still waits after a day keeps its place."""
    control, keys = services.control, services.keys
    removed = start = 0
    while True:
        old: Any = control.zrangebyscore(jobs, "-inf", horizon, start=start, num=1_000)
        if not old:
            return removed
        pipeline = control.pipeline(transaction=False)
        for job_id in old:
            pipeline.exists(keys.job(job_id.decode()))
        gone = [job_id for job_id, exists in zip(old, pipeline.execute(), strict=True) if not exists]
        if gone:
            removed += control.zrem(jobs, *gone)
        start += len(old) - len(gone)
