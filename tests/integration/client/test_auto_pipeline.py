"""Calls made at the same time share a round trip and nothing else: each has its own job, its own error, its own end."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from emendo_client import AsyncMemoryClient
from emendo_client.errors import NetworkError, VectorStoreError
from emendo_client.transport import auto_pipeline
from tests.support.intake import added
from tests.support.patience import PATIENCE, until

MANY = 8


class Trips:
    """The round trips of a plane that is shared: how many replies each brought, and how the next ones go.

    The first one is held back until `go`, so that all later calls gather meanwhile.
    """

    def __init__(self) -> None:
        self.counts: list[int] = []
        self.failures: list[BaseException | None] = []
        self.go = threading.Event()
        self.began = threading.Event()

    def begin(self, count: int) -> None:
        self.counts.append(count)
        self.began.set()

    def fail(self) -> None:
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure


@pytest.fixture
def trips(monkeypatch):
    held, real, real_async = Trips(), auto_pipeline.exchange, auto_pipeline.exchange_async

    def exchange(connection, written, count):
        held.begin(count)
        assert held.go.wait(PATIENCE)
        held.fail()
        return real(connection, written, count)

    async def exchange_async(connection, written, count):
        held.begin(count)
        await asyncio.to_thread(held.go.wait, 30)
        held.fail()
        return await real_async(connection, written, count)

    monkeypatch.setattr(auto_pipeline, "exchange", exchange)
    monkeypatch.setattr(auto_pipeline, "exchange_async", exchange_async)
    yield held
    held.go.set()


@pytest.fixture
def memory_id(services, client):
    return added(services, client)


def gathered(client) -> int:
    return len(client._connections.shared_senders["control"]._waiting)


def first_and_then(pool, trips, client, memory_id, count):
    """One call on its way, and so many that wait for it to come back."""
    first = pool.submit(client.update, memory_id, "number 0")
    assert trips.began.wait(PATIENCE)
    others = [pool.submit(client.update, memory_id, f"number {n}") for n in range(1, count + 1)]
    until(lambda: gathered(client) == count)
    return [first, *others]


def texts_accepted(services) -> set[str]:
    records = services.control.scan_iter(match=services.keys.job("*"))
    payloads = [(services.control.hget(record, "payload") or b"").decode() for record in records]
    return {text for n in range(MANY + 1) if any((text := f"number {n}") in payload for payload in payloads)}


def test_threads_share_round_trips_and_each_has_its_own_job(services, client, memory_id, trips):
    with ThreadPoolExecutor(MANY + 1) as pool:
        calls = first_and_then(pool, trips, client, memory_id, MANY)
        trips.go.set()
        jobs = [call.result() for call in calls]
    assert trips.counts == [1, MANY]
    payloads = [services.control.hget(services.keys.job(job.id), "payload").decode() for job in jobs]
    assert [f'"number {n}"' in payload for n, payload in enumerate(payloads)] == [True] * (MANY + 1)


async def test_tasks_share_round_trips_and_each_has_its_own_job(services, settings, memory_id, trips):
    trips.go.set()
    async with AsyncMemoryClient(settings) as client:
        jobs = await asyncio.gather(*(client.update(memory_id, f"number {n}") for n in range(MANY)))
    assert trips.counts == [MANY]
    payloads = [services.control.hget(services.keys.job(job.id), "payload").decode() for job in jobs]
    assert [f'"number {n}"' in payload for n, payload in enumerate(payloads)] == [True] * MANY


async def test_looks_at_jobs_share_round_trips(settings, memory_id, trips):
    """Each look on a connection of its own: a thousand waits of one gateway would use up the pool."""
    async with AsyncMemoryClient(settings) as client:
        trips.go.set()
        jobs = [await client.update(memory_id, f"number {n}") for n in range(2)]
        del trips.counts[:]
        states = await asyncio.gather(*(look() for job in jobs for look in (job.info, job.progress)))
    assert trips.counts == [len(states)]
    assert [state.status for state in states] == ["queued"] * 4


def test_a_connection_that_fails_fails_those_who_shared_it_and_no_others(services, client, memory_id, trips):
    trips.failures = [None, redis.ConnectionError("gone")]
    with ThreadPoolExecutor(MANY + 1) as pool:
        first, *others = first_and_then(pool, trips, client, memory_id, MANY)
        trips.go.set()
        job = first.result()
        assert [type(call.exception()) for call in others] == [NetworkError] * MANY
    assert job.status() == "queued"  # a look at it would share a round trip, too
    assert client.update(memory_id, "afterwards").status() == "queued"


def test_a_refused_command_is_the_error_of_its_own_caller(services, client, memory_id, trips, monkeypatch):
    shared = auto_pipeline.exchange

    def refuse_one(connection, written, count):
        replies = shared(connection, written, count)
        if count > 1:
            replies[1] = redis.exceptions.OutOfMemoryError("command not allowed")
        return replies

    monkeypatch.setattr(auto_pipeline, "exchange", refuse_one)
    with ThreadPoolExecutor(MANY + 1) as pool:
        calls = first_and_then(pool, trips, client, memory_id, MANY)
        trips.go.set()
        errors = [error for call in calls if (error := call.exception()) is not None]
    assert [(type(error), error.error_code) for error in errors] == [(VectorStoreError, "OUT_OF_MEMORY")]


def test_who_is_interrupted_sends_nothing_later_and_keeps_nobody_from_being_served(services, client, memory_id, trips):
    trips.failures = [None, KeyboardInterrupt()]
    with ThreadPoolExecutor(MANY + 1) as pool:
        calls = first_and_then(pool, trips, client, memory_id, MANY)
        trips.go.set()
        interrupted = [n for n, call in enumerate(calls) if isinstance(call.exception(), KeyboardInterrupt)]
    assert len(interrupted) == 1
    assert trips.counts == [1, MANY, MANY - 1]
    assert texts_accepted(services) == {f"number {n}" for n in range(MANY + 1) if n not in interrupted}
    assert not gathered(client)


def test_the_turn_goes_to_the_one_that_came_first_and_past_one_that_gave_up(client):
    shared = client._connections.shared_senders["control"]
    sender, first, second = (auto_pipeline._BlockedCall([]) for _ in range(3))
    assert [shared._may_send(call) for call in (sender, first, second)] == [True, False, False]
    shared._leave(sender)
    assert [call.wake.locked() for call in (first, second)] == [False, True]
    shared._leave(first)  # interrupted just as its turn came
    assert not second.wake.locked()
    shared._leave(second)
    assert not gathered(client)
    assert shared._may_send(auto_pipeline._BlockedCall([]))


async def test_a_call_cancelled_before_its_turn_is_not_sent(services, settings, memory_id, trips):
    async with AsyncMemoryClient(settings) as client:
        first = asyncio.create_task(client.update(memory_id, "number 0"))
        await asyncio.to_thread(trips.began.wait, 30)
        second, third = (asyncio.create_task(client.update(memory_id, f"number {n}")) for n in (1, 2))
        pipeline = client._connections.shared_senders["control"]
        await asyncio.to_thread(until, lambda: len(pipeline._waiting) == 2)
        second.cancel()
        trips.go.set()
        await asyncio.gather(first, third)
    assert second.cancelled()
    assert texts_accepted(services) == {"number 0", "number 2"}


async def test_a_call_cancelled_on_its_way_does_not_end_those_who_share_it(services, settings, memory_id, trips):
    async with AsyncMemoryClient(settings) as client:
        first, second = (asyncio.create_task(client.update(memory_id, f"number {n}")) for n in (0, 1))
        await asyncio.to_thread(trips.began.wait, 30)
        first.cancel()
        trips.go.set()
        job = await second
        assert trips.counts == [2]
        assert await job.status() == "queued"
    assert first.cancelled()


async def test_a_connection_that_fails_fails_the_tasks_that_shared_it(settings, memory_id, trips):
    trips.go.set()
    trips.failures = [redis.ConnectionError("gone")]
    async with AsyncMemoryClient(settings) as client:
        ends = await asyncio.gather(
            *(client.update(memory_id, f"number {n}") for n in range(MANY)), return_exceptions=True
        )
        assert [type(end) for end in ends] == [NetworkError] * MANY
        assert await (await client.update(memory_id, "afterwards")).status() == "queued"


async def test_scripts_redis_has_forgotten_are_told_again(services, client, settings, memory_id):
    services.control.script_flush()
    with ThreadPoolExecutor(MANY) as pool:
        jobs = list(pool.map(lambda n: client.update(memory_id, f"number {n}"), range(MANY)))
    services.control.script_flush()
    async with AsyncMemoryClient(settings) as waiting:
        jobs += await asyncio.gather(*(waiting.update(memory_id, f"number {n}") for n in range(MANY)))
    assert {client.job(job.id).status() for job in jobs} == {"queued"}


def test_a_loop_that_was_closed_leaves_the_next_one_free_and_nothing_to_send(services, settings, memory_id, trips):
    client = AsyncMemoryClient(settings)
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    on_its_way = first.create_task(client.update(memory_id, "number 0"))
    first.run_until_complete(asyncio.to_thread(trips.began.wait, 30))
    waiting = first.create_task(client.update(memory_id, "number 1"))
    ((connections, _),) = client._connections._loops._values.values()
    pipeline = connections.shared_senders["control"]
    first.run_until_complete(asyncio.to_thread(until, lambda: len(pipeline._waiting) == 1))
    first.close()
    trips.go.set()

    async def again():
        try:
            return await (await client.update(memory_id, "number 2")).status()
        finally:
            await client.close()

    assert second.run_until_complete(asyncio.wait_for(again(), 20)) == "queued"
    second.close()
    assert texts_accepted(services) == {"number 2"}
    for task in (on_its_way, waiting, pipeline._sending):
        assert not task.done()
        task._log_destroy_pending = False  # a closed loop ends none


def test_a_process_forked_while_others_call_may_call(client, memory_id, trips):
    with ThreadPoolExecutor(MANY + 1) as pool:
        calls = first_and_then(pool, trips, client, memory_id, 2)
        child = os.fork()
        if not child:
            signal.alarm(20)  # it ends, whatever happens
            trips.go.set()
            job = client.update(memory_id, "number 8")
            os._exit(0 if trips.counts == [1, 1] and job.status() == "queued" else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        trips.go.set()
        assert [call.result().status() for call in calls] == ["queued"] * 3
