"""Applied keys expire; a job that is older finds its effects in the history."""

from __future__ import annotations

import time

import pytest

from emendo_client.testing.openai_server.faults import Fault
from emendo_workers.jobs.operations import Delete, Update
from emendo_workers.memories.apply import apply_operations
from emendo_workers.memories.history import effect_of
from tests.support.intake import account_of, added, drain, drain_all, with_settings


def redeliver_after_days(services, record_id: str, memory_ids) -> None:
    """As if the record's attempt had died after its commit, and days had passed: no mark is left."""
    control, keys = services.control, services.keys
    record = keys.job(record_id)
    past = time.time_ns() // 1_000 - (services.settings.job_ttl + 3_600) * 1_000_000
    control.hset(record, mapping={"status": "running", "submitted": past})
    control.hdel(record, "finished", "results", "error")
    for memory_id in memory_ids:
        for key in services.data.scan_iter(keys.applied(memory_id, "*").replace("{", "[{]").replace("}", "[}]")):
            services.data.delete(key)
    shard = control.hget(record, "shard").decode()
    control.xadd(keys.inbox(shard), {"job": record_id})


def kept_payload(services, record_id: str) -> str:
    return services.control.hget(services.keys.job(record_id), "payload").decode()


def worked(services, job):
    """Works the job, and puts the payload back that its end dropped."""
    payload = kept_payload(services, job.id)
    drain_all(services)
    services.control.hset(services.keys.job(job.id), "payload", payload)
    return job.wait(1)


@pytest.mark.parametrize("kind", ["update", "delete", "hard delete", "restore", "add"])
def test_a_single_job_has_no_second_effect(services, client, kind):
    memory_id = added(services, client, "one")
    services.data.hset(services.keys.memory(memory_id), "stamps", "[0,0,0,{}]")  # nothing else holds it back
    job = {
        "update": lambda: client.update(memory_id, "two", {"n": 1}),
        "delete": lambda: client.delete(memory_id),
        "hard delete": lambda: client.delete(memory_id, hard=True),
        "restore": lambda: client.restore(memory_id, version=1),
        "add": lambda: client.add("another", user_id="ana", infer=False),
    }[kind]()
    first = worked(services, job)
    target = first.results[0].memory_id
    before = client.history(target), services.data.dump(services.keys.memory(target))
    redeliver_after_days(services, job.id, [target])
    drain_all(services)
    again = job.wait(1)
    assert again.status == "succeeded"
    assert [(item.event, item.version) for item in again.results] == [
        (item.event, item.version) for item in first.results
    ]
    assert (client.history(target), services.data.dump(services.keys.memory(target))) == before


def test_a_chunk_has_no_second_effect_and_its_items_are_told_apart(services, client):
    memory_id = added(services, client, "one")
    job = client.batch_update([{"memory_id": memory_id, "text": text} for text in ("two", "three")])
    record = f"{job.id}:0"
    payload = kept_payload(services, record)
    drain_all(services)
    services.control.hset(services.keys.job(record), "payload", payload)
    services.control.hset(services.keys.job(job.id), mapping={"open": 1, "done": 0, "succeeded": 0})
    redeliver_after_days(services, record, [memory_id])
    drain_all(services)
    assert [item.version for item in job.wait(1).results] == [2, 3]
    assert [entry.version for entry in client.history(memory_id)] == [1, 2, 3]
    assert account_of(services, job)["succeeded"] == 2


def test_an_old_job_that_had_no_effect_yet_has_it(services, client, openai_server):
    memory_id = added(services, client, "one")
    with_settings(services, client, max_attempts=1)
    openai_server.faults.add(Fault("unavailable", times=100))
    job = client.update(memory_id, "two")
    drain_all(services)
    assert job.status() == "failed"
    openai_server.faults.clear()
    record = services.keys.job(job.id)
    services.control.hincrby(record, "submitted", -(services.settings.job_ttl + 3_600) * 1_000_000)
    services.data.hset(services.keys.memory(memory_id), "stamps", "[0,0,0,{}]")
    client.replay(job.id)
    drain_all(services)
    assert job.wait(1).status == "succeeded"
    assert client.get(memory_id).memory == "two"


def test_the_effect_is_found_behind_many_later_changes(services, client):
    memory_id = added(services, client, "one")
    job = client.update(memory_id, "two")
    worked(services, job)
    client.batch_update([{"memory_id": memory_id, "metadata": {"n": n}} for n in range(450)])
    drain_all(services)
    redeliver_after_days(services, job.id, [memory_id])
    drain_all(services)
    assert job.wait(1).results[0].version == 2
    assert len(client.history(memory_id)) == 452


def test_the_effect_is_found_while_an_erasure_moves_the_history(services, client):
    """The commit of an erasure moves all entries aside, and later steps bring them back."""
    memory_id = added(services, client)
    job = client.update(memory_id, "new")
    drain(services, job)
    erasure = Delete("erasure", "default", time.time_ns() // 1_000, memory_id, hard=True)
    apply_operations([erasure], services)
    assert services.data.exists(services.keys.erased_history(memory_id))
    found = effect_of(services.store, Update(job.id, "default", 1, memory_id))
    assert found is not None
    assert (found.event, found.version) == ("UPDATE", 2)
    drain(services, client.delete(memory_id, hard=True))
