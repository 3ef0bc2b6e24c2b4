"""Slow work leaves threads to what somebody waits for."""

from __future__ import annotations

import time

import pytest

from emendo_client import MemoryClient
from emendo_client.testing.fixtures import settings_for
from emendo_client.testing.worker import WorkerProcess
from emendo_workers.intake.drain import Drain
from tests.support.intake import added, drain, wakeup_of, with_settings
from tests.support.patience import PATIENCE


def test_a_chunk_that_finds_no_slot_stays_where_it_is_and_is_woken(services, client):
    with_settings(services, client, bulk_shards=1)
    memory_id = added(services, client)
    job = client.batch_update([{"memory_id": memory_id, "text": "tea"}])
    assert services.background_limiter.try_acquire()
    assert Drain(services, "bulk-0").run() == 0
    assert wakeup_of(services, "bulk-0").startswith("rung:"), "the drain that frees the slot wakes it"
    assert services.background_limiter.has_waiting
    services.background_limiter.release()
    assert not services.background_limiter.has_waiting
    assert Drain(services, "bulk-0").run() == 1
    assert job.status() == "succeeded"
    assert services.background_limiter.try_acquire(), "it gave its own back"


def test_what_somebody_waits_for_takes_no_slot(services, client):
    memory_id = added(services, client)
    services.background_limiter.set_limit(0)
    job = client.update(memory_id, "tea")
    drain(services, job)
    assert job.status() == "succeeded"


@pytest.mark.slow  # a worker process under load
@pytest.mark.chaos
def test_an_update_passes_a_batch_that_could_take_every_thread(emendo_redis, openai_server, tmp_path):
    openai_server.latency_ms = 1_000
    settings = settings_for(emendo_redis.url, openai_server.base_url).model_copy(
        update={"chunk_items": 1, "bulk_shards": 3}
    )
    with WorkerProcess(settings, tmp_path / "worker.log", concurrency=3), MemoryClient(settings) as client:
        (item,) = client.add("quick", user_id="ana", infer=False).wait(PATIENCE, raise_on_failure=True).results
        batch = client.batch_add(
            [{"messages": f"slow {number}", "user_id": "ana"} for number in range(24)], infer=False
        )
        while batch.status() == "queued":
            time.sleep(0.01)
        for number in range(3):
            assert client.update(item.memory_id, metadata={"seen": number}).wait(PATIENCE).status == "succeeded"
        assert not batch.status().is_final, "24 requests of a second each, one at a time, take longer"
        batch.cancel(60)
