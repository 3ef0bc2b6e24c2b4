"""The periodic work beat asks for: lists are trimmed, expired memories marked, old embedding spaces removed."""

from __future__ import annotations

import logging
from typing import Any

from emendo_client import writes
from emendo_client.records import split_conflict_id
from emendo_client.reembedding import reading, steering
from emendo_config.redis_io import as_text
from emendo_workers.expiry import expire_memories
from emendo_workers.services import Services
from emendo_workers.submitting import converse

logger = logging.getLogger(__name__)

_HOUR = 3_600.0


def keep_house(services: Services, now: float) -> dict[str, int]:
    """Trims lists that name what is gone, marks memories that have expired, and ends a re-embedding's grace.

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
    _end_grace(services, now)
    logger.info("house kept", extra=kept)
    return kept


def _end_grace(services: Services, now: float) -> None:
    """Asks for the old space of a re-embedding to be removed, when it was kept long enough."""
    migration = converse(services, reading.migration(services.keys, services.settings.reembed_grace))
    if migration is None or migration.drops_at is None or migration.drops_at.timestamp() > now:
        return
    # One that failed is asked for again an hour later.
    key = f"grace:{migration.job_id}:{int(now // _HOUR)}"
    request = steering.request(
        services.settings.project, steering.FINALIZE, migration=migration.job_id, idempotency_key=key
    )
    _, rings = converse(services, writes.accept(services.settings, services.keys, request))
    services.bell.ring_each(rings)


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
