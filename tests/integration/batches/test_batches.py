"""Batch jobs: many items under one id, each for itself."""

from __future__ import annotations

import pytest

from emendo_client import AsyncMemoryClient, MemoryClient
from emendo_client.errors import JobNotFoundError
from emendo_client.exchanges import results
from emendo_client.testing.openai_server.faults import Fault
from tests.support.intake import account_of, added, drain_all, with_settings


def batch_added(services, client, count: int) -> list[str]:
    job = client.batch_add([{"messages": f"fact {n}", "user_id": "ana"} for n in range(count)], infer=False)
    drain_all(services)
    return [item.memory_id for item in job.wait(1, raise_on_failure=True).results]


def test_a_batch_updates_each_memory_once_and_says_so_in_order(services, client):
    with_settings(services, client, chunk_items=3)
    ids = batch_added(services, client, 10)
    assert len(set(ids)) == 10
    job = client.batch_update([{"memory_id": memory_id, "text": f"corrected {n}"} for n, memory_id in enumerate(ids)])
    assert job.status() == "queued"
    assert (job.progress().done, job.progress().total) == (0, 10)
    drain_all(services)
    result = job.wait(1)
    assert result.status == "succeeded"
    assert [item.memory_id for item in result.results] == ids
    assert [item.memory for item in result.results] == [f"corrected {n}" for n in range(10)]
    assert [item.previous_memory for item in result.results] == [f"fact {n}" for n in range(10)]
    assert {len(client.history(memory_id)) for memory_id in ids} == {2}
    assert (job.progress().done, job.progress().total) == (10, 10)
    expected = {"items": 10, "chunks": 4, "done": 10, "succeeded": 10, "failed": 0, "open": 0, "dead": 0}
    assert account_of(services, job) == expected


def test_a_chunk_costs_one_provider_request(services, client, openai_server):
    with_settings(services, client, chunk_items=4)
    client.batch_add([{"messages": f"fact {n}", "user_id": "ana"} for n in range(10)], infer=False)
    drain_all(services)
    assert sorted(len(request.inputs) for request in openai_server.requests) == [2, 4, 4]


def test_an_add_of_many_messages_gives_one_result_for_each_of_them(services, client):
    with_settings(services, client, chunk_items=2)
    items = [
        {"messages": [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}], "user_id": "ana"},
        {"messages": "three", "agent_id": "chef", "metadata": {"n": 3}},
    ]
    job = client.batch_add(items, infer=False)
    drain_all(services)
    results = job.wait(1).results
    assert [item.memory for item in results] == ["one", "two", "three"]
    memories = [client.get(item.memory_id) for item in results]
    assert [(memory.user_id, memory.agent_id) for memory in memories] == [("ana", None)] * 2 + [(None, "chef")]
    assert memories[2].metadata == {"n": 3}


def test_each_kind_of_failure_stays_in_its_place_and_fails_no_neighbour(services, client, openai_server):
    with_settings(services, client, chunk_items=2)
    ids = batch_added(services, client, 6)
    deleted = ids[4]
    client.delete(deleted)
    with MemoryClient(services.settings, project="another") as other:
        foreign = added(services, other, "theirs")
    drain_all(services)
    openai_server.faults.add(Fault("bad_request", times=100, match="refused"))
    job = client.batch_update(
        [
            {"memory_id": ids[0], "text": "new 0"},
            {"memory_id": "nobody-knows-it", "text": "new"},
            {"memory_id": ids[1], "text": "new 1", "expected_version": 7},
            {"memory_id": ids[2], "text": "refused by the provider"},
            {"memory_id": ids[3]},
            "not a mapping",
            {"memory_id": foreign, "text": "stolen"},
            {"memory_id": deleted, "text": "zombie"},
            {"memory_id": ids[5], "metadata": {"fine": True}},
        ]
    )
    drain_all(services)
    result = job.wait(1)
    assert result.status == "partially_succeeded"
    assert [(item.error or {}).get("code") for item in result.results] == [
        None,
        "MEMORY_NOT_FOUND",
        "VERSION_MISMATCH",
        "EMBEDDING",
        "VALIDATION",
        "VALIDATION",
        "MEMORY_NOT_FOUND",
        "MEMORY_NOT_FOUND",
        None,
    ]
    assert [item.memory_id for item in result.results][2:6] == [ids[1], ids[2], ids[3], ""]
    assert [client.get(memory_id).version for memory_id in (ids[0], ids[1], ids[2], ids[3], ids[5])] == [2, 1, 1, 1, 2]
    assert (account_of(services, job)["succeeded"], account_of(services, job)["failed"]) == (2, 7)
    assert client.job(job.id).info().error is not None
    with MemoryClient(services.settings, project="another") as other:
        assert other.get(foreign).memory == "theirs"


@pytest.mark.parametrize("chunk_items", [2, 1], ids=["within one chunk", "in two chunks"])
def test_of_two_changes_to_one_memory_the_later_item_wins_and_both_are_recorded(services, client, chunk_items):
    memory_id = added(services, client)
    with_settings(services, client, chunk_items=chunk_items)
    job = client.batch_update([{"memory_id": memory_id, "text": "first"}, {"memory_id": memory_id, "text": "second"}])
    drain_all(services)
    assert job.wait(1).status == "succeeded"
    history = client.history(memory_id)
    assert [entry.version for entry in history] == [1, 2, 3]
    assert {entry.job_id for entry in history[1:]} == {job.id}
    assert client.get(memory_id).memory == "second"
    assert sorted(item.version for item in job.wait(1).results) == [2, 3]


def test_a_batch_of_deletes_hides_each(services, client):
    ids = batch_added(services, client, 3)
    job = client.batch_delete([{"memory_id": memory_id} for memory_id in ids[:2]])
    drain_all(services)
    assert [item.event for item in job.wait(1).results] == ["DELETE", "DELETE"]
    assert [memory.id for memory in client.get_all(user_id="ana").results] == ids[2:]


def test_a_weak_batch_leaves_no_record_and_does_its_work(services, client):
    with_settings(services, client, chunk_items=2)
    ids = batch_added(services, client, 5)
    job = client.batch_update([{"memory_id": memory_id, "text": "weak"} for memory_id in ids], consistency="weak")
    drain_all(services)
    assert {client.get(memory_id).memory for memory_id in ids} == {"weak"}
    with pytest.raises(JobNotFoundError):
        job.info()
    assert list(services.control.scan_iter(f"{services.keys.job(job.id)}*")) == []


async def test_results_are_read_page_by_page_in_order(services, client, monkeypatch):
    monkeypatch.setattr(results, "_ITEMS_AT_A_TIME", 7)  # the texts of a page are read in several round trips
    with_settings(services, client, chunk_items=1)
    ids = batch_added(services, client, 45)
    job = client.batch_update([{"memory_id": memory_id, "metadata": {"n": 1}} for memory_id in ids])
    drain_all(services)
    assert [item.memory_id for item in job.results()] == ids
    assert [item.memory for item in job.results()] == [f"fact {n}" for n in range(45)]
    assert job.wait(1, with_results=False).results == []
    async with AsyncMemoryClient(services.settings) as asynchronous:
        handle = await asynchronous.job(job.id)
        assert [item.memory_id async for item in handle.results()] == ids
        assert (await handle.progress()).done == 45


async def test_the_async_client_sends_the_same_batches(services, client):
    with_settings(services, client, chunk_items=1)
    async with AsyncMemoryClient(services.settings) as asynchronous:
        items = [{"messages": f"fact {n}", "user_id": "ana"} for n in range(20)]
        job = await asynchronous.batch_add(items, infer=False, idempotency_key="k")
        again = await asynchronous.batch_add(items, infer=False, idempotency_key="k")
        assert again.id == job.id
        drain_all(services)
        ids = [item.memory_id for item in (await job.wait(1)).results]
        updates = await asynchronous.batch_update({"memory_id": each, "metadata": {"n": 1}} for each in ids)
        deletes = await asynchronous.batch_delete([{"memory_id": each} for each in ids])
        drain_all(services)
        assert [(await each.wait(1)).status for each in (updates, deletes)] == ["succeeded"] * 2
    assert client.get_all(user_id="ana").total == 0
