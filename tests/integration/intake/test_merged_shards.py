"""Merged shards: every job is worked once and every shard ends at rest, whatever happens to the drain that goes on."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from emendo_config.store import scripts
from emendo_workers.intake import drain as drain_module
from emendo_workers.intake.attempt import BatchRunner
from emendo_workers.intake.drain import Drain
from emendo_workers.intake.sweeper import Sweeper
from emendo_workers.runtime import shard_merging
from emendo_workers.runtime.shard_merging import ShardClaim, ShardPool
from tests.support.deaths import DEATHS, Killed, die_at
from tests.support.intake import (
    added,
    drain_all,
    messages_waiting,
    reconfigure,
    shard_of_job,
    shard_of_memory,
    wakeup_of,
)


@pytest.fixture
def merging_at_once(monkeypatch):
    monkeypatch.setattr(shard_merging, "MIN_DRAINS", 1)
    monkeypatch.setattr(shard_merging, "MIN_BATCH", 0)


@pytest.fixture
def two_shards(services, client):
    """Two memories in shards of their own."""
    one = added(services, client)
    for _ in range(50):
        other = added(services, client)
        if shard_of_memory(services, other) != shard_of_memory(services, one):
            return one, other
    raise AssertionError("all memories are in one shard")


def give(services, shard: str) -> ShardClaim:
    """Another drain of this process claims the shard, and gives it to the drain that is at work."""
    owner = f"drain:{services.worker}:giver"
    claim = ShardClaim(shard, services.keys.inbox(shard), services.keys.wakeup(shard), owner)
    assert scripts.run(
        services.control, [scripts.claim(wakeup=claim.wakeup, owner=owner, lease_ms=services.lease_ms)]
    ) == [1]
    services.leases.add(claim.wakeup, owner)
    services.shard_pool.register(owner)
    assert services.shard_pool.merge(owner, [claim])
    return claim


def give_during_the_first_batch(services, monkeypatch, shard: str) -> None:
    real, given = BatchRunner.run, []

    def work(self, entries, **more):
        if not given and entries:
            given.append(give(services, shard))
        return real(self, entries, **more)

    monkeypatch.setattr(BatchRunner, "run", work)


def assert_nothing_is_held(services, *shards: str) -> None:
    assert len(services.shard_pool) == 0
    assert services.leases._claims == {}
    for shard in shards:
        assert wakeup_of(services, shard) is None
        assert services.control.xlen(services.keys.inbox(shard)) == 0


@pytest.mark.usefixtures("merging_at_once")
def test_a_drain_works_what_it_was_given_meanwhile(services, client, monkeypatch, two_shards):
    jobs = [client.update(each, f"text {number}") for each in two_shards for number in range(3)]
    own, given = (shard_of_memory(services, each) for each in two_shards)
    give_during_the_first_batch(services, monkeypatch, given)
    assert Drain(services, own).run() == 6
    assert [job.status() for job in jobs] == ["succeeded"] * 6
    assert [client.get(each).memory for each in two_shards] == ["text 2"] * 2
    assert_nothing_is_held(services, own, given)


@pytest.mark.usefixtures("merging_at_once")
def test_a_lost_answer_to_a_read_costs_no_job_of_a_shard_it_was_given(services, client, monkeypatch, two_shards):
    jobs = [client.update(each, "text") for each in two_shards]
    own, given = (shard_of_memory(services, each) for each in two_shards)
    give_during_the_first_batch(services, monkeypatch, given)
    real, lost = redis.Redis.xreadgroup, []

    def lossy(connection, group, reader, streams, **more):
        if services.keys.inbox(given) in streams and not lost:
            lost.append(real(connection, group, reader, dict(streams), **more))
        return real(connection, group, reader, streams, **more)

    monkeypatch.setattr(redis.Redis, "xreadgroup", lossy)
    assert Drain(services, own).run() == 2
    assert lost[0], "the answer that was lost named the job"
    assert [job.status() for job in jobs] == ["succeeded"] * 2
    assert_nothing_is_held(services, own, given)


@pytest.mark.usefixtures("merging_at_once")
@pytest.mark.parametrize("after", DEATHS)
def test_a_drain_that_dies_with_two_shards_loses_nothing_and_repeats_nothing(
    services, client, monkeypatch, two_shards, after
):
    shards = [shard_of_memory(services, each) for each in two_shards]
    versions, deaths = 1, 0
    for step in range(1, 50):
        jobs = [client.update(each, f"text {step} {number}") for each in two_shards for number in range(2)]
        with monkeypatch.context() as patch:
            give_during_the_first_batch(services, patch, shards[1])
            die_at(patch, step, after=after)
            try:
                Drain(services, shards[0]).run()
            except Killed:
                deaths += 1
        services.leases._claims.clear()  # it died with its process
        services.shard_pool = ShardPool(services.settings.drain_batch)
        services.control.delete(*map(services.keys.wakeup, shards))
        services.data.delete(*map(services.keys.lock, two_shards))
        Sweeper(services).sweep()
        for shard in shards:
            Drain(services, shard).run()
        versions += 2
        assert [job.status() for job in jobs] == ["succeeded"] * 4, f"died at step {step}"
        for each, its in zip(two_shards, (jobs[:2], jobs[2:]), strict=True):
            history = client.history(each)
            assert [entry.version for entry in history] == list(range(1, versions + 1)), f"died at step {step}"
            assert [entry.job_id for entry in history[-2:]] == [job.id for job in its]
        assert_nothing_is_held(services, *shards)
        if deaths < step:
            break
    assert deaths >= 8, "two batches and the claim of the second shard make at least eight round trips"


@pytest.mark.usefixtures("merging_at_once")
def test_what_was_given_to_a_drain_that_fails_is_kept_alive_by_nobody(services, client, monkeypatch, two_shards):
    jobs = [client.update(each, "text") for each in two_shards]
    own, given = (shard_of_memory(services, each) for each in two_shards)

    def fail(self, entries):
        give(services, given)
        raise redis.ConnectionError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(BatchRunner, "run", fail)
        with pytest.raises(redis.ConnectionError):
            Drain(services, own).run()
    assert services.leases._claims == {}
    assert len(services.shard_pool) == 0
    assert wakeup_of(services, given).startswith("drain:"), "it runs out by itself, and is woken then"
    services.control.delete(services.keys.wakeup(own), services.keys.wakeup(given))
    Sweeper(services).sweep()
    assert wakeup_of(services, given).startswith("rung:")
    drain_all(services)
    assert [job.status() for job in jobs] == ["succeeded"] * 2


@pytest.mark.usefixtures("merging_at_once")
def test_after_a_slow_batch_shards_part(services, client, monkeypatch, two_shards):
    monkeypatch.setattr(drain_module, "FAST_BATCH", 0.0)
    reconfigure(services, drain_batch=1)
    first = [client.update(each, "first") for each in (two_shards[0], *two_shards)]
    own, given = (shard_of_memory(services, each) for each in two_shards)
    give_during_the_first_batch(services, monkeypatch, given)
    real = BatchRunner.run

    def work(self, entries):
        both = len({entry.inbox for entry in entries}) == 2
        done = real(self, entries)
        if both:  # or there is nothing left to part with
            client.update(two_shards[1], "second")
        return done

    monkeypatch.setattr(BatchRunner, "run", work)
    before = messages_waiting(services)
    assert Drain(services, own).run() == 3
    assert [job.status() for job in first] == ["succeeded"] * 3
    assert wakeup_of(services, own) is None
    assert wakeup_of(services, given).startswith("rung:"), "somebody else is to work it"
    assert messages_waiting(services) == before + 1
    assert services.leases._claims == {}
    assert Drain(services, given).run() == 1
    assert client.get(two_shards[1]).memory == "second"


def test_many_drains_at_once_end_every_job_once(services, client, openai_server, monkeypatch):
    """Threads that give and take while they work, over and over: no shard is forgotten, no job done twice."""
    monkeypatch.setattr(shard_merging, "MIN_DRAINS", 2)
    monkeypatch.setattr(shard_merging, "MIN_BATCH", 1)
    services.shard_pool = ShardPool(1_000)
    reconfigure(services, drain_batch=8)
    monkeypatch.setattr(drain_module, "FAST_BATCH", 60.0)  # however busy this machine is
    openai_server.latency_ms = 10
    joins = itertools.count()
    real = ShardPool.merge

    def join(self, name, claims):
        joined = real(self, name, claims)
        next(joins) if joined else None
        return joined

    monkeypatch.setattr(ShardPool, "merge", join)
    ids = [added(services, client) for _ in range(24)]
    jobs = {each: [client.update(each, f"text {number}") for number in range(10)] for each in ids}
    shards = sorted({shard_of_job(services, its[0]) for its in jobs.values()})
    with ThreadPoolExecutor(len(shards)) as threads:
        made = sum(threads.map(lambda shard: Drain(services, shard).run(), shards))
    assert made == 240
    assert next(joins) > 0, "or the test shows nothing"
    for each, its in jobs.items():
        assert [job.status() for job in its] == ["succeeded"] * 10
        assert [entry.job_id for entry in client.history(each)[1:]] == [job.id for job in its]
    assert_nothing_is_held(services, *shards)


def test_a_chunk_is_never_given_what_somebody_waits_for(services):
    for shard in ("bulk-0", "maintenance-0", "inference-0"):
        assert Drain(services, shard)._pool is not services.shard_pool
    assert Drain(services, "0")._pool is services.shard_pool
