"""A batch is one job of many items, and each item succeeds or fails by itself."""

from __future__ import annotations


def test_one_failed_item_leaves_the_others_alone(emendo_client):
    added = emendo_client.batch_add(
        [{"messages": "I like tea.", "user_id": "ana"}, {"messages": "I have a dog.", "user_id": "ana"}], infer=False
    ).wait()
    tea, dog = (item.memory_id for item in added.results)
    result = emendo_client.batch_update(
        [
            {"memory_id": tea, "text": "I like coffee."},
            {"memory_id": "no-such-memory", "text": "Nobody knows it."},
            {"memory_id": dog, "metadata": {"name": "Rex"}},
        ]
    ).wait()
    assert result.status == "partially_succeeded"
    assert [item.event for item in result.results] == ["UPDATE", None, "UPDATE"]
    assert result.results[1].error["type"] == "MemoryNotFoundError"


def test_the_calls_of_a_busy_loop_become_one_batch(emendo_client):
    with emendo_client.batch() as batch:
        for number in range(20):
            batch.add(f"fact {number}", user_id="ana")
    (job,) = batch.jobs
    assert len(job.wait().results) == 20
