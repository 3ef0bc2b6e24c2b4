"""Shared by the tests of conflicts: a look at the conflicts that wait, and a worker that dies on the way."""

from __future__ import annotations

from typing import Any

from emendo_client import Job
from emendo_workers.services import Services
from tests.support.deaths import Killed, die_at
from tests.support.intake import drain, shard_of_job


def worked(services: Services, *jobs: Job) -> None:
    for job in jobs:
        drain(services, job)
        assert job.status() == "succeeded", job.wait(1)


def documents(services: Services, memory_id: str) -> int:
    return services.data.hlen(services.keys.conflict(memory_id))


def listed(services: Services, project: str = "default") -> list[bytes]:
    return services.control.zrange(services.keys.conflicts(project), 0, -1)


def errors_of(job: Job) -> list[str]:
    return [item.error["code"] for item in job.wait(1).results]


def drain_dying(services: Services, monkeypatch: Any, step: int, job: Job, memory_id: str, *, after: bool) -> bool:
    """Drains the job with a worker that dies at the step-th round trip, then with its successor; did it die?"""
    with monkeypatch.context() as patch:
        die_at(patch, step, after=after)
        try:
            drain(services, job)
        except Killed:
            died = True
        else:
            died = False
    services.control.delete(services.keys.wakeup(shard_of_job(services, job)))
    services.data.delete(services.keys.lock(memory_id))
    drain(services, job)
    return died
