"""The periodic work beat asks for: lists that name expired records are trimmed."""

from __future__ import annotations

import logging
from typing import Any

from emendo_workers.services import Services

logger = logging.getLogger(__name__)


def keep_house(services: Services, now: float) -> dict[str, int]:
    """Removes jobs from their projects' lists once their records have expired.

    Args:
        services: the worker's.
        now: seconds since the epoch.

    Returns:
        How many entries were removed from how many lists.
    """
    control, keys = services.control, services.keys
    horizon = int((now - services.settings.job_ttl) * 1_000_000)
    removed = lists = 0
    for jobs in control.scan_iter(match=f"{keys.jobs('')}*", count=1_000):
        lists += 1
        removed += _trim(services, jobs, horizon)
    logger.info("house kept", extra={"lists": lists, "removed": removed})
    return {"lists": lists, "removed": removed}


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
