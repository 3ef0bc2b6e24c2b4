"""`client.batch()`: calls of a hot path become batch jobs."""

from __future__ import annotations

import pytest
from intake import added, drain_all

from emendo_client import AsyncMemoryClient
from emendo_client.errors import ValidationError


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


async def test_the_async_collector_sends_at_the_end_of_its_block(services, client, emendo_settings):
    memory_id = added(services, client)
    async with AsyncMemoryClient(emendo_settings) as awaited:
        async with awaited.batch() as batch:
            await batch.update(memory_id, "awaited")
        drain_all(services)
        assert (await batch.jobs[0].wait(1)).results[0].memory == "awaited"
