"""Slow work leaves threads to what somebody waits for."""

from __future__ import annotations

import time

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from emendo_client import MemoryClient
from emendo_client.testing.fixtures import settings_for
from emendo_client.testing.worker import WorkerProcess
from emendo_workers.intake.attempt import BatchRunner
from emendo_workers.intake.drain import Drain
from tests.support.intake import added, broker, drain, wakeup_of, with_settings
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


@pytest.fixture
def waiting(services, client):
    """The shards bulk-0 and bulk-1 have two chunks each. One slot is taken, and the second shard waits for it."""
    with_settings(services, client, bulk_shards=2, project_window_chunks=4, chunk_items=1)
    client.batch_add([{"messages": f"fact {number}", "user_id": "ana"} for number in range(4)], infer=False)
    assert services.background_limiter.try_acquire()
    assert Drain(services, "bulk-1").run() == 0
    assert left(services) == [2, 2]


def left(services):
    return [services.control.xlen(services.keys.inbox(f"bulk-{place}")) for place in range(2)]


def wakeups(services):
    with broker(services) as connection:
        return connection.llen(f"{services.settings.key_prefix}bulk")


def handed_over(services, ends):
    """A drain of the first shard that has the slot."""
    return Drain(services, "bulk-0", slot_until=ends).run()


def test_a_slot_goes_to_the_shard_that_waits_on_the_same_thread(services, waiting):
    before = wakeups(services)
    assert handed_over(services, time.monotonic() + 60) == 3
    assert left(services) == [1, 0], "the first shard gave way after one chunk, and nobody waited for the second one"
    assert wakeups(services) == before + 1, "that of the first shard"
    assert services.background_limiter.try_acquire()


@pytest.mark.parametrize("why", ["its time is over", "the process is to end"])
def test_a_thread_that_ends_wakes_the_shard_that_waits(services, waiting, why):
    before = wakeups(services)
    if why == "the process is to end":
        services.stopping.set()
    assert handed_over(services, 0.0 if why == "its time is over" else time.monotonic() + 60) == 1
    assert left(services) == [1, 2]
    assert wakeups(services) == before + 2
    assert services.background_limiter.try_acquire()


def test_a_drain_that_fails_gives_its_slot_back(services, waiting, monkeypatch):
    def fail(*_, **__):
        raise RedisConnectionError

    monkeypatch.setattr(BatchRunner, "run", fail)
    before = wakeups(services)
    with pytest.raises(RedisConnectionError):
        handed_over(services, time.monotonic() + 60)
    assert wakeups(services) == before + 1, "that of the shard that waited"
    assert services.background_limiter.try_acquire()


def test_a_slot_whose_shard_another_drain_has_goes_on(services, waiting):
    services.control.set(services.keys.wakeup("bulk-0"), "drain:another:1", px=60_000)
    assert handed_over(services, time.monotonic() + 60) == 2
    assert left(services) == [2, 0]
    assert services.background_limiter.try_acquire()


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
