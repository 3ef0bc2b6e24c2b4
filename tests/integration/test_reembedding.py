"""Re-embedding a store from one space to another, step by step, with real drains and no worker process."""

from __future__ import annotations

import pytest
from intake import added, drain_all, let_time_pass

from emendo_client import MigrationPhase


def work_until(services, job, *, rounds: int = 200):
    """Drains everything, and lets what was put aside come back, until the job is over."""
    for _ in range(rounds):
        drain_all(services)
        if job.status().is_final:
            return job.info()
        let_time_pass(services)
    raise AssertionError(f"the job is still {job.status()}: {services.control.hgetall(services.keys.migration)}")


def test_straight(services, client):
    ids = [added(services, client, f"text {n}") for n in range(5)]
    job = client.reembed(dimensions=128)
    info = work_until(services, job)
    assert info.status == "succeeded", info
    print(client.migration(), job.progress())
    print(services.data.hkeys(services.keys.memory(ids[0])))
    work_until(services, client.finalize_reembed())
    print(client.migration())
    print(services.data.hgetall(services.keys.memory(ids[0])))
