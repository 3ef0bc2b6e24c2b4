"""`client.batch()`: calls of a hot path become batch jobs."""

from __future__ import annotations

import asyncio
import inspect
import traceback

import pytest
import redis

from emendo_client import AsyncMemoryClient
from emendo_client.errors import JobError, NetworkError, ValidationError
from emendo_client.requests import collected
from emendo_client.requests.batches import APPEND_CHUNKS
from emendo_config.store import scripts
from emendo_config.store.scripts import execution
from emendo_workers.intake.sweeper import Sweeper
from tests.support.intake import added, drain_all, with_settings

# A call gets lost on its way before Redis has it, or its answer after Redis accepted it.
LOSSES = ("request", "answer")


def test_calls_of_a_hot_path_become_one_batch_job(services, client):
    memory_id, other = added(services, client), added(services, client)
    with client.batch() as batch:
        batch.update(memory_id, "first")
        batch.update(memory_id, "second", {"topic": "food"})
        batch.delete(other)
        batch.add("new", user_id="ana")
        assert batch.jobs == [], "nothing is sent before there is enough of it"
    (job,) = batch.jobs
    drain_all(services)
    result = job.wait(1)
    assert [item.event for item in result.results] == ["UPDATE", "UPDATE", "DELETE", "ADD"]
    assert client.get(memory_id).memory == "second"
    assert client.get(result.results[3].memory_id).memory == "new"


def test_a_refused_call_of_a_hot_path_says_so_at_once_and_the_others_are_sent(services, client):
    memory_id = added(services, client)
    batch = client.batch()
    with pytest.raises(ValidationError):
        _kept_and_refused(batch, memory_id)
    drain_all(services)
    assert batch.jobs[0].wait(1).status == "succeeded"
    assert client.get(memory_id).memory == "kept"


def _kept_and_refused(batch, memory_id):
    with batch:
        batch.update(memory_id, "kept")
        batch.update(memory_id, "")


async def test_the_async_batch_writer_sends_at_the_end_of_its_block(services, client, emendo_settings):
    memory_id = added(services, client)
    async with AsyncMemoryClient(emendo_settings) as awaited:
        async with awaited.batch() as batch:
            await batch.update(memory_id, "awaited")
        drain_all(services)
        assert (await batch.jobs[0].wait(1)).results[0].memory == "awaited"


# When Redis cannot be reached.


class Waiting:
    """An async writer whose calls are waited for, so that one test serves both twins."""

    def __init__(self, writer, runner):
        self._writer, self._runner = writer, runner

    def __getattr__(self, name):
        member = getattr(self._writer, name)
        if not inspect.iscoroutinefunction(member):
            return member
        return lambda *given, **named: self._runner.run(member(*given, **named))

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self._runner.run(self._writer.__aexit__(*failure))


@pytest.fixture(params=["sync", "async"])
def batch(request, services, client):
    """A writer of either kind."""
    if request.param == "sync":
        yield client.batch()
        return
    with asyncio.Runner() as runner:
        awaited = AsyncMemoryClient(client.settings)
        yield Waiting(awaited.batch(), runner)
        runner.run(awaited.close())


@pytest.fixture
def losses(monkeypatch, services):
    """The losses of the next calls that append, one after the other; the word "nothing" loses nothing."""
    services.control.script_load(
        scripts.append.text
    )  # a call that finds its script missing is sent twice, and is no loss
    left, real, real_async = [], execution.round_trip, execution.round_trip_async

    def loss(commands):
        is_append = scripts.append.runs_in(commands[0])
        return left.pop(0) if left and is_append else "nothing"

    def fail_if(lost):
        if lost:
            raise redis.ConnectionError("lost on the way")

    def send(connection, commands, *more):
        lost = loss(commands)
        fail_if(lost == "request")
        replies = real(connection, commands, *more)
        fail_if(lost == "answer")
        return replies

    async def send_async(connection, commands):
        lost = loss(commands)
        fail_if(lost == "request")
        replies = await real_async(connection, commands)
        fail_if(lost == "answer")
        return replies

    monkeypatch.setattr(execution, "round_trip", send)
    monkeypatch.setattr(execution, "round_trip_async", send_async)
    return left


def add_facts(batch, *numbers: int) -> None:
    for number in numbers:
        batch.add(f"fact {number}", user_id="ana")


def facts(*numbers: int) -> list[str]:
    return [f"fact {number}" for number in numbers]


def outcomes(services, client, batch) -> list[list[str]]:
    """The texts of each job's items, when all jobs have ended; each added memory is there once, and no other is."""
    drain_all(services)
    results = [client.job(job.id).wait(1) for job in batch.jobs]
    assert {result.status for result in results} == {"succeeded"}
    found = [[item.memory for item in result.results] for result in results]
    made = [item.memory for result in results for item in result.results if item.event == "ADD"]
    known = [memory.memory for memory in client.get_all(user_id="ana", page_size=1_000).results]
    assert sorted(known) == sorted(made)
    return found


@pytest.mark.parametrize("lost", LOSSES)
@pytest.mark.parametrize("worked", [False, True], ids=["", "worked meanwhile"])
def test_a_flush_that_fails_keeps_what_was_collected_and_the_next_one_sends_it_once(  # noqa: PLR0917
    services, client, batch, losses, lost, worked
):
    memory_id = added(services, client, "as it was")
    batch.update(memory_id, "first")
    batch.update(memory_id, "second")
    batch.delete(memory_id)
    losses[:] = [lost, lost]
    for _ in range(2):
        with pytest.raises(NetworkError):
            batch.flush()
        if worked:
            drain_all(services)
    assert batch.jobs == []
    add_facts(batch, 1)
    batch.flush()
    assert outcomes(services, client, batch) == [["first", "second", None], ["fact 1"]]
    assert [entry.new_memory for entry in client.history(memory_id)][:3] == ["as it was", "first", "second"]
    assert [entry.event for entry in client.history(memory_id)] == ["ADD", "UPDATE", "UPDATE", "DELETE"]
    batch.flush()
    assert (len(batch.jobs), drain_all(services)) == (2, 0), "nothing is left to be sent"


@pytest.mark.parametrize("lost", LOSSES)
@pytest.mark.parametrize("worked", [False, True], ids=["", "worked meanwhile"])
def test_of_several_parts_those_are_sent_again_that_redis_does_not_have(  # noqa: PLR0917
    services, client, batch, losses, lost, worked
):
    with_settings(services, client, chunk_items=1)
    batch._client.settings = client.settings
    numbers = range(2 * APPEND_CHUNKS + 1)
    add_facts(batch, *numbers)
    losses[:] = ["nothing", lost, "nothing", lost]
    for _ in range(2):
        with pytest.raises(NetworkError):
            batch.flush()
        if worked:
            drain_all(services)
    batch.flush()
    assert outcomes(services, client, batch) == [facts(*numbers)]
    assert services.control.zcard(services.keys.accepting) == 0


@pytest.mark.parametrize("lost", LOSSES)
def test_a_call_that_had_to_be_preceded_by_a_flush_that_failed_may_be_made_again(  # noqa: PLR0917
    services, client, batch, losses, lost, monkeypatch
):
    monkeypatch.setattr(collected, "MOST_CALLS", 3)
    add_facts(batch, 0, 1, 2)
    losses[:] = [lost, lost]
    with pytest.raises(NetworkError):
        add_facts(batch, 3)
    add_facts(batch, 3, 4, 5)
    with pytest.raises(NetworkError):
        add_facts(batch, 6)  # two lists at most are kept, however often Redis fails
    add_facts(batch, 6)
    assert len(batch.jobs) == 2
    batch.flush()
    assert outcomes(services, client, batch) == [facts(0, 1, 2), facts(3, 4, 5), facts(6)]


def test_a_call_that_is_refused_sends_nothing(services, client, batch, losses, monkeypatch):
    monkeypatch.setattr(collected, "MOST_CALLS", 1)
    add_facts(batch, 0)
    with pytest.raises(ValidationError):
        batch.update("some-memory", "")
    assert batch.jobs == []


@pytest.mark.parametrize("lost", LOSSES)
def test_a_block_whose_end_cannot_be_sent_says_so_and_may_be_flushed_after_it(services, client, batch, losses, lost):
    losses[:] = [lost]
    with pytest.raises(NetworkError) as failure:
        _collected_and_failed(batch)
    assert "the block's own" in "".join(traceback.format_exception(failure.value))
    batch.flush()
    assert outcomes(services, client, batch) == [facts(0)]


def _collected_and_failed(batch):
    with batch:
        add_facts(batch, 0)
        raise LookupError("the block's own")


@pytest.mark.parametrize("lost", LOSSES)
def test_of_a_job_that_was_closed_before_the_next_flush_the_rest_goes_into_another_one(
    services, client, batch, losses, lost
):
    with_settings(services, client, chunk_items=1)
    batch._client.settings = client.settings
    numbers = range(3 * APPEND_CHUNKS)
    add_facts(batch, *numbers)
    losses[:] = ["nothing", lost]
    with pytest.raises(NetworkError):
        batch.flush()
    (job_id,) = services.control.zrange(services.keys.accepting, 0, -1)
    services.control.zadd(services.keys.accepting, {job_id: 0})
    Sweeper(services).sweep()
    add_facts(batch, 99)
    with pytest.raises(JobError) as closed:
        batch.flush()
    accepted = {"request": APPEND_CHUNKS, "answer": 2 * APPEND_CHUNKS}[lost]
    assert closed.value.details == {"job_id": job_id.decode(), "accepted": accepted}
    batch.flush()
    first, rest = numbers[:accepted], numbers[accepted:]
    assert outcomes(services, client, batch) == [facts(*first), facts(*rest, 99)]


@pytest.mark.parametrize("lost", ["nothing", *LOSSES])
async def test_tasks_that_share_a_batch_writer_keep_their_order_and_send_nothing_twice(  # noqa: PLR0917
    services, client, emendo_settings, losses, lost, monkeypatch
):
    monkeypatch.setattr(collected, "MOST_CALLS", 3)
    async with AsyncMemoryClient(emendo_settings) as awaited:
        batch = awaited.batch()
        await asyncio.gather(*(batch.add(fact, user_id="ana") for fact in facts(*range(8))))
        losses[:] = [lost]
        flushed = await asyncio.gather(batch.flush(), batch.flush(), return_exceptions=True)
        assert [type(each) for each in flushed] == [NetworkError if lost != "nothing" else type(None), type(None)]
        assert outcomes(services, client, batch) == [facts(0, 1, 2), facts(3, 4, 5), facts(6, 7)]


async def test_what_is_called_while_a_flush_is_under_way_does_not_wait_for_it(services, client, emendo_settings):
    async with AsyncMemoryClient(emendo_settings) as awaited:
        batch = awaited.batch()
        real = awaited._run

        async def run(conversation):
            if len(batch.jobs) == 0:
                await batch.add("fact 1", user_id="ana")
            return await real(conversation)

        awaited._run = run
        await batch.add("fact 0", user_id="ana")
        await batch.flush()
        assert len(batch.jobs) == 1
        await batch.flush()
        assert outcomes(services, client, batch) == [facts(0), facts(1)]
