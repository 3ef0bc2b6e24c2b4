"""A release that spreads names over the shards in another way moves no job: each is worked on the shard it waits on."""

from __future__ import annotations

from emendo_client.testing.openai_server.faults import Fault
from emendo_config.store.formats import delayed_member
from tests.support.intake import added, bring_back, drain, put_aside, shard_of_job


def accepted_elsewhere(services, job) -> str:
    """Puts a job where a release with another hash would have accepted it; that shard."""
    control, keys = services.control, services.keys
    own = shard_of_job(services, job)
    other = str((int(own) + 1) % services.settings.inbox_shards)
    control.delete(keys.inbox(own), keys.wakeup(own))
    control.xadd(keys.inbox(other), {"job": job.id})
    control.sadd(keys.shards, other)
    control.hset(keys.job(job.id), "shard", other)
    return other


def test_a_job_that_is_put_aside_comes_back_to_its_shard(services, client):
    memory_id = added(services, client)
    job = client.update(memory_id, "new")
    shard = accepted_elsewhere(services, job)
    put_aside(services, memory_id, job)
    assert services.control.zrange(services.keys.delayed, 0, -1) == [delayed_member(shard, job.id).encode()]
    bring_back(services, job)
    assert (job.status(), shard_of_job(services, job)) == ("succeeded", shard)
    assert [entry.version for entry in client.history(memory_id)] == [1, 2]


def test_a_dead_letter_is_replayed_on_its_shard(services, client, openai_server):
    memory_id = added(services, client)
    openai_server.faults.add(Fault("bad_request", times=10, match="unbearable"))
    job = client.update(memory_id, "unbearable")
    shard = accepted_elsewhere(services, job)
    drain(services, job)
    assert job.status() == "failed"
    openai_server.faults.clear()
    client.replay(job.id)
    assert services.control.xlen(services.keys.inbox(shard)) == 1
    drain(services, job)
    assert (job.status(), shard_of_job(services, job)) == ("succeeded", shard)
