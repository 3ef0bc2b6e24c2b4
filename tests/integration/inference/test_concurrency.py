"""ShardPool that wait for the chat model leave threads to quick work."""

from __future__ import annotations

import threading

import pytest

from emendo_client import MemoryClient
from emendo_client.testing.fixtures import settings_for
from emendo_client.testing.worker import WorkerProcess
from emendo_workers.intake.drain import Drain
from tests.support.inferring import Model, memories, with_chat
from tests.support.intake import broker, drain, shard_of_job, wakeup_of
from tests.support.patience import PATIENCE


@pytest.fixture
def settings(emendo_settings, openai_server):
    return with_chat(emendo_settings, openai_server)


def wakeups(services) -> int:
    with broker(services) as connection:
        return int(connection.llen(f"{services.settings.key_prefix}inference"))


def elsewhere(services, client, job):
    """An add whose shard is another one."""
    taken = shard_of_job(services, job)
    for number in range(100):
        other = client.add("I dance", user_id=f"user {number}")
        if shard_of_job(services, other) != taken:
            return other
    raise AssertionError("one shard for a hundred users")


def test_a_drain_that_finds_no_slot_gives_its_shard_back_and_is_worked_next(services, client, model):
    first = client.add("I sing", user_id="ana")
    client.add("I sing loudly", user_id="ana")
    second = elsewhere(services, client, first)
    shard, seen = shard_of_job(services, second), []

    def look(stage):
        if not seen:
            before = wakeups(services)
            seen.append(Drain(services, shard).run())
            seen.append(wakeup_of(services, shard).partition(":")[0])
            seen.append(wakeups(services) - before)

    model.before = look
    before = wakeups(services)
    drain(services, first)
    assert seen == [0, "rung", 0], "it neither works nor holds the shard, and no shard is woken yet"
    assert memories(client) == ["I sing."], "it ends early, to make room"
    assert wakeups(services) - before == 1, "for what is left of its own"
    assert second.status() == "succeeded", "its thread works the shard that waited"
    drain(services, first)
    assert (second.status(), memories(client)) == ("succeeded", ["I sing loudly.", "I sing."])


def test_a_drain_that_needs_no_model_takes_no_slot(services, client, model):
    job = client.add("I sing", user_id="ana", infer=False)
    services.chat_limiter.set_limit(0)
    drain(services, job)
    assert job.status() == "succeeded"


@pytest.mark.slow  # a worker process under load
@pytest.mark.chaos
def test_quick_work_goes_on_while_more_adds_than_threads_wait_for_the_model(emendo_redis, openai_server, tmp_path):
    settings = with_chat(settings_for(emendo_redis.url, openai_server.base_url), openai_server, chat_timeout=60.0)
    model, asked, answer = Model(openai_server), threading.Event(), threading.Event()

    def hold(stage):
        asked.set()
        answer.wait(PATIENCE)

    with WorkerProcess(settings, tmp_path / "worker.log", concurrency=2), MemoryClient(settings) as client:
        (item,) = client.add("quick", user_id="ana", infer=False).wait(raise_on_failure=True).results
        model.before = hold
        slow = [client.add("I sing", user_id=f"user {number}") for number in range(8)]
        assert asked.wait(PATIENCE)
        try:
            for number in range(3):
                assert client.update(item.memory_id, f"quick {number}").wait(PATIENCE).status == "succeeded"
            assert {job.status().is_final for job in slow} == {False}, "the model has answered nobody yet"
        finally:
            answer.set()
        assert {job.wait(PATIENCE).status for job in slow} == {"succeeded"}
