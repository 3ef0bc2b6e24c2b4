"""Batch jobs: many items under one id, each for itself."""

from __future__ import annotations

from emendo_config.redis_io import as_text
from emendo_workers.drain import Drain


def drain_all(services):
    for shard in sorted(as_text(raw) for raw in services.control.smembers(services.keys.shards)):
        Drain(services, shard).run()


def test_a_batch_updates_each_memory_once_and_says_so_in_order(services, client):
    services.settings = services.settings.model_copy(update={"chunk_items": 3})
    client.settings = services.settings
    adds = client.batch_add([{"messages": f"fact {n}", "user_id": "ana"} for n in range(10)], infer=False)
    drain_all(services)
    ids = [item.memory_id for item in adds.wait(1, raise_on_failure=True).results]
    assert len(set(ids)) == 10
    job = client.batch_update([{"memory_id": memory_id, "text": f"corrected {n}"} for n, memory_id in enumerate(ids)])
    assert job.status() == "queued"
    drain_all(services)
    result = job.wait(1)
    assert result.status == "succeeded"
    assert [item.memory_id for item in result.results] == ids
    assert [item.memory for item in result.results] == [f"corrected {n}" for n in range(10)]
    assert [item.previous_memory for item in result.results] == [f"fact {n}" for n in range(10)]
    assert {len(client.history(memory_id)) for memory_id in ids} == {2}
    assert (job.progress().done, job.progress().total) == (10, 10)
