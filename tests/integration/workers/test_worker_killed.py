"""A worker that dies with jobs in its hands: another one ends them, once."""

from __future__ import annotations

import pytest

from emendo_client import MemoryClient
from emendo_client.testing.fixtures import settings_for
from emendo_client.testing.worker import WorkerProcess
from emendo_config import Keys
from tests.support.patience import PATIENCE, until

pytestmark = pytest.mark.chaos


@pytest.mark.slow  # waits for a lease to end
def test_jobs_of_a_killed_worker_are_done_by_another_once(emendo_redis, openai_server, tmp_path, request):
    # The product's own leases and intervals, not the tests' short ones.
    settings = settings_for(
        emendo_redis.url, openai_server.base_url, lease=8.0, ring_ttl=5.0, sweep_interval=1.0, retry_base=1.0
    )
    keys = Keys(settings.key_prefix)
    with WorkerProcess(settings, tmp_path / "first.log") as first, MemoryClient(settings) as client:
        control = client._connections.control
        (victim,) = control.zrange(keys.workers, 0, -1)
        second = WorkerProcess(settings, tmp_path / "second.log").start()
        request.addfinalizer(second.stop)
        ids = [
            item.memory_id
            for item in client.add([{"role": "user", "content": f"fact {n}"} for n in range(20)], "ana", infer=False)
            .wait(raise_on_failure=True)
            .results
        ]
        openai_server.latency_ms = 3_000  # so that the jobs are in somebody's hands when it dies
        jobs = [client.update(memory_id, f"new {memory_id} {n}") for n in range(5) for memory_id in ids]
        until(lambda: any(control.hget(keys.job(job.id), "worker") == victim for job in jobs))
        first.kill()
        openai_server.latency_ms = 0
        results = [job.wait(PATIENCE) for job in jobs]
        assert {result.status for result in results} == {"succeeded"}
        for memory_id in ids:
            history = client.history(memory_id)
            assert [entry.version for entry in history] == list(range(1, 7))
            assert len({entry.job_id for entry in history}) == len(history)
            assert client.get(memory_id).memory == history[-1].new_memory == f"new {memory_id} 4"
