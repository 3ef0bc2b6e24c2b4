"""Purging: what was gone before a moment is erased, and nothing else."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from emendo_client import AsyncMemoryClient, MemoryClient
from emendo_client.errors import MemoryNotFoundError, ValidationError
from emendo_client.exchanges import purge
from emendo_client.exchanges.exchange import run
from emendo_config.store.clock import RedisClock
from emendo_workers.intake.drain import Drain
from emendo_workers.maintenance.expiry import expire_memories
from tests.support.intake import added, drain, drain_all, shard_of_memory, with_settings
from tests.support.patience import until


def now() -> datetime:
    return datetime.now(UTC)


def pass_millisecond() -> None:
    """Until the next millisecond: deletions are found by it."""
    start = time.time_ns() // 1_000_000
    while time.time_ns() // 1_000_000 <= start + 1:
        threading.Event().wait(0.001)


def deleted(services, client, text: str = "gone") -> str:
    memory_id = added(services, client, text)
    drain(services, client.delete(memory_id))
    pass_millisecond()
    return memory_id


def is_erased(services, memory_id: str) -> bool:
    return services.data.hexists(services.keys.memory(memory_id), "erased")


def test_only_what_was_deleted_before_the_moment_is_erased(services, client):
    old, kept = deleted(services, client), added(services, client, "kept")
    moment = now()
    pass_millisecond()
    late = deleted(services, client)
    job = client.purge(moment)
    drain_all(services)
    result = job.wait(1)
    assert (result.status, [item.memory_id for item in result.results]) == ("succeeded", [old])
    assert [is_erased(services, each) for each in (old, kept, late)] == [True, False, False]
    assert client.history(old)[-1].event == "DELETE"
    assert client.diagnose(old).ok
    assert client.purge(moment) is None, "what is erased is not found again"


@pytest.mark.parametrize("marked", [False, True], ids=["not marked yet", "marked after the moment"])
def test_what_expired_before_the_moment_is_erased_too(services, client, marked):
    memory_id = added(services, client, "until now", expires_at=now() + timedelta(milliseconds=150))
    stays = added(services, client, "for long", expires_at=now() + timedelta(days=1))
    until(lambda: client.get_all(user_id="ana").total == 1)
    pass_millisecond()
    moment = now()
    if marked:
        pass_millisecond()
        expire_memories(services.store, services.notifier, time.time())
        drain_all(services)
    job = client.purge(moment)
    drain_all(services)
    assert job.wait(1).status == "succeeded"
    assert [is_erased(services, each) for each in (memory_id, stays)] == [True, False]


def test_what_is_restored_meanwhile_is_spared(services, client):
    restored, again, gone = (deleted(services, client) for _ in range(3))
    job = client.purge(now())
    client.restore(restored)
    client.restore(again)
    last = client.delete(again)
    for each in (restored, again):
        Drain(services, shard_of_memory(services, each)).run()
    assert last.status() == "succeeded"
    drain_all(services)
    result = job.wait(1)
    assert result.status == "succeeded"
    assert {item.memory_id: item.event for item in result.results} == {restored: None, again: None, gone: "DELETE"}
    assert [is_erased(services, each) for each in (restored, again, gone)] == [False, False, True]
    assert client.get(restored).memory == "gone"


def test_two_purges_at_once_erase_each_memory_once(services, client):
    memory_id = deleted(services, client)
    jobs = [client.purge(now()) for _ in range(2)]
    drain_all(services)
    assert [job.wait(1).status for job in jobs] == ["succeeded"] * 2
    assert [entry.version for entry in client.history(memory_id)] == [1, 2, 3]


def test_a_moment_to_come_erases_nothing_that_is_still_there(services, client):
    memory_id = added(services, client, expires_at=now() + timedelta(hours=1))
    gone = deleted(services, client)
    job = client.purge(now() + timedelta(days=1))
    drain_all(services)
    assert [item.memory_id for item in job.wait(1).results] == [gone]
    assert client.get(memory_id).version == 1


def test_nothing_to_purge_is_no_job(services, client):
    added(services, client)
    assert client.purge(now()) is None
    assert [info.kind for info in client.jobs()] == ["add"]


def test_another_projects_memories_are_not_touched(services, client):
    memory_id = deleted(services, client)
    with MemoryClient(services.settings, project="another") as other:
        assert other.purge(now()) is None
    assert not is_erased(services, memory_id)


@pytest.mark.slow
def test_thousands_are_found_page_by_page(services, client):
    with_settings(services, client, chunk_items=500)
    items = [{"messages": f"fact {n % 7}", "user_id": "ana"} for n in range(2_300)]
    add = client.batch_add(items, infer=False)
    drain_all(services)
    ids = [item.memory_id for item in add.results()]
    client.batch_delete([{"memory_id": each} for each in ids])
    drain_all(services)
    pass_millisecond()
    job = client.purge(now())
    assert job.info().items == 2_300
    drain_all(services)
    assert job.wait(1, with_results=False).status == "succeeded"
    assert all(is_erased(services, each) for each in ids)


def test_a_memory_that_changes_between_two_pages_is_found_once(services, client, monkeypatch):
    monkeypatch.setattr(purge, "_PAGE", 2)
    ids = {deleted(services, client, f"fact {number}") for number in range(5)}
    shown = []

    def send(commands):
        replies = [services.data.execute_command(*each) for each in commands]
        if commands[-1][0] == "FT.AGGREGATE":
            first_page, _ = replies[-1]
            shown.extend(services.keys.memory_id(row[1].decode()) for row in first_page[1:])
            for memory_id in shown:  # Redis puts them at the end of its index
                services.data.hset(services.keys.memory(memory_id), "actor_id", "somebody")
        return replies

    found = run({"data": send}, purge.deleted_ids(services.keys, RedisClock(), "default", 2**60))
    assert len(shown) == 2
    assert sorted(found) == sorted(ids)


@pytest.mark.parametrize("moment", ["2030-01-01T00:00:00", "soon", 1_700_000_000, None])
def test_a_moment_that_is_none_is_refused(client, moment):
    with pytest.raises(ValidationError):
        client.purge(moment)


async def test_the_async_client_purges_too(services, client):
    memory_id = deleted(services, client)
    async with AsyncMemoryClient(services.settings) as asynchronous:
        job = await asynchronous.purge(now())
        drain_all(services)
        assert (await job.wait(1)).status == "succeeded"
        assert await asynchronous.purge(now()) is None
        with pytest.raises(MemoryNotFoundError):
            await asynchronous.get(memory_id, include_deleted=True)
