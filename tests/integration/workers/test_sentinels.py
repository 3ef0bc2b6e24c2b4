"""A master that sentinels name: clients, workers and the broker find it, and the next one after a failover."""

from __future__ import annotations

import asyncio
import time

import pytest
import redis

from emendo_client import AsyncMemoryClient, MemoryClient
from emendo_client.errors import EmendoError
from emendo_client.testing.fixtures import settings_for
from emendo_client.testing.worker import WorkerProcess
from emendo_config.urls import redact_url
from emendo_ops.doctor.examination import examine
from tests.support.patience import PATIENCE, until
from tests.support.sentinels import MASTER_NAME, Sentinels


@pytest.fixture
def sentinels(tmp_path):
    with Sentinels(tmp_path) as started:
        yield started


def told(client: MemoryClient, text: str) -> str:
    """Adds a memory and searches for it; its id."""
    memory_id = client.add(text, user_id="ana", infer=False).wait(PATIENCE).results[0].memory_id
    assert client.get(memory_id).memory == text
    assert memory_id in [hit.id for hit in client.search(text, user_id="ana")]
    return memory_id


def persistently(call):
    """Repeats a call while Redis is away."""
    deadline = time.monotonic() + PATIENCE  # the election alone takes seconds
    while True:
        try:
            return call()
        except EmendoError:
            assert time.monotonic() < deadline, "nobody found the new master"
            time.sleep(0.2)


async def read(settings, memory_id: str) -> str:
    async with AsyncMemoryClient(settings) as client:
        return (await client.get(memory_id)).memory


def switch(sentinels) -> None:
    """The replica becomes the master, and the master its replica, which takes no writes."""
    with redis.Redis(port=sentinels.ports[0]) as sentinel:
        sentinel.execute_command("SENTINEL", "FAILOVER", MASTER_NAME)
    with redis.Redis(port=sentinels.master.port) as demoted:
        until(lambda: demoted.info("replication")["role"] == "slave")


@pytest.mark.parametrize(
    "fail",
    [
        pytest.param(lambda sentinels: sentinels.master.kill(), id="killed", marks=pytest.mark.slow),
        pytest.param(switch, id="demoted", marks=pytest.mark.slow),
    ],
)
def test_the_story_goes_on_with_the_new_master(sentinels, openai_server, tmp_path, fail):
    settings = settings_for(sentinels.url, openai_server.base_url, redis_timeout=2.0)
    with WorkerProcess(settings, tmp_path / "worker.log"), MemoryClient(settings) as client:
        before = told(client, "I dislike seafood.")
        assert asyncio.run(read(settings, before)) == "I dislike seafood."
        fail(sentinels)
        assert persistently(lambda: client.get(before)).memory == "I dislike seafood."
        after = persistently(lambda: told(client, "I like tea."))
        assert asyncio.run(read(settings, after)) == "I like tea."
        assert client.update(before, "I like seafood.").wait(PATIENCE).status == "succeeded"


@pytest.mark.slow  # sentinels take seconds to know one another
def test_the_doctor_shows_the_sentinels_and_no_password(sentinels, openai_server, monkeypatch):
    monkeypatch.setenv("EMENDO_REDIS_URL", sentinels.url)
    monkeypatch.setenv("EMENDO_EMBEDDING_BASE_URL", openai_server.base_url)
    monkeypatch.setenv("EMENDO_BROKER_URL", "")
    monkeypatch.setenv("EMENDO_CONTROL_URL", "")
    found = {finding.check: finding for finding in examine()}
    assert (found["redis"].state, found["broker"].state) == ("ok", "ok")
    assert redact_url(sentinels.url) in found["redis"].found
