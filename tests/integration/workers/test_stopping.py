"""A worker that is asked to stop finishes what it has and signs off."""

from __future__ import annotations

from emendo_client import MemoryClient
from emendo_client.testing.fixtures import settings_for
from emendo_client.testing.worker import WorkerProcess


def test_a_stopping_worker_finishes_its_jobs_and_signs_off(emendo_redis, openai_server, tmp_path):
    settings = settings_for(emendo_redis.url, openai_server.base_url)
    worker = WorkerProcess(settings, tmp_path / "worker.log").start()
    with MemoryClient(settings) as client:
        openai_server.latency_ms = 500
        job = client.add("hello", user_id="ana", infer=False)
        while job.status() == "queued":
            assert worker.pid
        worker.stop()
        assert job.status() == "succeeded"
        assert client.health().workers == 0
