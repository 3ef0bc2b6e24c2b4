"""More calls at once than there are connections: each waits its turn, and a wait for a job blocks nobody."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from emendo_client import AsyncMemoryClient, MemoryClient
from emendo_client.errors import JobTimeoutError, NetworkError, ValidationError
from tests.support.intake import added, drain_all
from tests.support.patience import PATIENCE, until

FEW, MANY = 4, 24


@pytest.fixture
def few(settings):
    """Settings that allow for fewer connections than there are callers."""
    return settings.model_copy(update={"redis_max_connections": FEW})


def test_threads_take_turns(services, client, few):
    memory_id = added(services, client)
    with MemoryClient(few) as narrow, ThreadPoolExecutor(MANY) as pool:
        assert {memory.id for memory in pool.map(narrow.get, [memory_id] * MANY)} == {memory_id}


async def test_tasks_take_turns(services, client, few):
    memory_id = added(services, client)
    async with AsyncMemoryClient(few) as narrow:
        found = await asyncio.gather(*(narrow.get(memory_id) for _ in range(MANY)))
    assert {memory.id for memory in found} == {memory_id}


def test_threads_that_wait_for_jobs_hear_of_their_ends_and_hold_nobody_up(services, client, few):
    memory_id = added(services, client)
    waiting = threading.Barrier(MANY + 1)
    with MemoryClient(few) as narrow, ThreadPoolExecutor(MANY) as pool:
        jobs = [narrow.update(memory_id, metadata={f"k{number}": number}) for number in range(MANY)]

        def wait(job):
            waiting.wait(PATIENCE)
            return job.wait(PATIENCE).status

        ends = [pool.submit(wait, job) for job in jobs]
        waiting.wait(PATIENCE)
        assert narrow.get(memory_id).version == 1
        drain_all(services)
        assert [end.result() for end in ends] == ["succeeded"] * MANY


async def test_tasks_that_wait_for_jobs_hear_of_their_ends_and_hold_nobody_up(services, client, few):
    memory_id = added(services, client)
    async with AsyncMemoryClient(few) as narrow:
        jobs = [await narrow.update(memory_id, metadata={f"k{number}": number}) for number in range(MANY)]
        ends = [asyncio.create_task(job.wait(PATIENCE)) for job in jobs]
        await asyncio.to_thread(until_all_that_can_listen, services)
        assert (await narrow.get(memory_id)).version == 1
        await asyncio.to_thread(drain_all, services)
        assert [result.status for result in await asyncio.gather(*ends)] == ["succeeded"] * MANY


def until_all_that_can_listen(services) -> None:
    channels = services.keys.job_channel("*")
    until(lambda: len(services.control.pubsub_channels(channels)) >= FEW)


async def test_who_cannot_listen_still_waits_no_longer_than_asked(services, client, few):
    memory_id = added(services, client)
    async with AsyncMemoryClient(few) as narrow:
        jobs = [await narrow.update(memory_id, metadata={f"k{number}": number}) for number in range(MANY)]
        ends = await asyncio.gather(*(job.wait(0.3) for job in jobs), return_exceptions=True)
    assert [type(end) for end in ends] == [JobTimeoutError] * MANY
    assert client.jobs(status="queued", limit=MANY)
    drain_all(services)


def test_a_call_that_finds_no_connection_in_time_says_which_setting_to_raise(client, settings):
    narrow = settings.model_copy(update={"redis_max_connections": 1, "redis_timeout": 0.2})
    with MemoryClient(narrow) as one:
        held = one._connections.data.connection_pool.get_connection()
        with pytest.raises(NetworkError, match="all connections") as failed:
            one.jobs()
        one._connections.data.connection_pool.release(held)
        assert failed.value.error_code == "NO_CONNECTION_FREE"
        assert "EMENDO_REDIS_MAX_CONNECTIONS" in failed.value.suggestion
        assert one.jobs() == []


async def test_a_task_that_finds_no_connection_in_time_says_which_setting_to_raise(settings):
    narrow = settings.model_copy(update={"redis_max_connections": 1, "redis_timeout": 0.2})
    async with AsyncMemoryClient(narrow) as one:
        held = await one._connections.data.connection_pool.get_connection()
        with pytest.raises(NetworkError, match="all connections") as failed:
            await one.jobs()
        await one._connections.data.connection_pool.release(held)
        assert failed.value.error_code == "NO_CONNECTION_FREE"
        assert await one.jobs() == []


@pytest.mark.parametrize("timeout", [None, "5", -1, float("nan"), True])
async def test_a_wait_of_no_number_of_seconds_is_refused(client, settings, timeout):
    job = client.update("m", "text")
    with pytest.raises(ValidationError, match="timeout"):
        job.wait(timeout)
    with pytest.raises(ValidationError, match="timeout"):
        job.cancel(timeout)
    async with AsyncMemoryClient(settings) as waiting:
        same = await waiting.job(job.id)
        with pytest.raises(ValidationError, match="timeout"):
            await same.wait(timeout)
        with pytest.raises(ValidationError, match="timeout"):
            await same.cancel(timeout)
    assert job.status() == "queued"
