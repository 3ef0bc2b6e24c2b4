"""Drains of one process that join: every job once, every bell silent, whatever happens to the one that goes on."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from intake import Killed, added, bell_of, drain_all, kill_at, messages_waiting, shard_of_job, shard_of_memory

from emendo_workers import drain as drain_module
from emendo_workers import joining, scripts
from emendo_workers.drain import Drain
from emendo_workers.joining import Claim, Drains
from emendo_workers.sweeper import Sweeper


@pytest.fixture
def joining_at_once(monkeypatch):
    monkeypatch.setattr(joining, "FEWEST", 1)
    monkeypatch.setattr(joining, "BUSY", 0)


@pytest.fixture
def two_shards(services, client):
    """Two memories in shards of their own."""
    one = added(services, client)
    for _ in range(50):
        other = added(services, client)
        if shard_of_memory(services, other) != shard_of_memory(services, one):
            return one, other
    raise AssertionError("all memories are in one shard")


def give(services, shard: str) -> Claim:
    """Another drain of this process claims the shard, and gives it to whoever is at work."""
    owner = f"drain:{services.worker}:giver"
    claim = Claim(shard, services.keys.inbox(shard), services.keys.bell(shard), owner)
    assert scripts.run(services.control, [scripts.claim(claim.bell, owner, services.lease_ms)]) == [1]
    services.keeper.keep(claim.bell, owner)
    services.drains.enter(owner)
    assert services.drains.join(owner, [claim])
    return claim


def give_during_the_first_batch(services, monkeypatch, shard: str) -> None:
    real, given = Drain._work, []

    def work(self, entries):
        if not given and entries:
            given.append(give(services, shard))
        return real(self, entries)

    monkeypatch.setattr(Drain, "_work", work)


def assert_nothing_is_held(services, *shards: str) -> None:
    assert len(services.drains) == 0
    assert services.keeper._bells == {}
    for shard in shards:
        assert bell_of(services, shard) is None
        assert services.control.xlen(services.keys.inbox(shard)) == 0


@pytest.mark.usefixtures("joining_at_once")
def test_a_drain_works_what_it_was_given_meanwhile(services, client, monkeypatch, two_shards):
    jobs = [client.update(each, f"text {number}") for each in two_shards for number in range(3)]
    own, given = (shard_of_memory(services, each) for each in two_shards)
    give_during_the_first_batch(services, monkeypatch, given)
    assert Drain(services, own).run() == 6
    assert [job.status() for job in jobs] == ["succeeded"] * 6
    assert [client.get(each).memory for each in two_shards] == ["text 2"] * 2
    assert_nothing_is_held(services, own, given)


@pytest.mark.usefixtures("joining_at_once")
@pytest.mark.parametrize("after", [False, True], ids=["before the round trip", "after it"])
def test_a_drain_that_dies_with_two_shards_loses_nothing_and_repeats_nothing(
    services, client, monkeypatch, two_shards, after
):
    shards = [shard_of_memory(services, each) for each in two_shards]
    versions, deaths = 1, 0
    for step in range(1, 50):
        jobs = [client.update(each, f"text {step} {number}") for each in two_shards for number in range(2)]
        with monkeypatch.context() as patch:
            give_during_the_first_batch(services, patch, shards[1])
            kill_at(patch, step, after=after)
            try:
                Drain(services, shards[0]).run()
            except Killed:
                deaths += 1
        services.keeper._bells.clear()  # it died with its process
        services.drains = Drains(services.settings.drain_batch)
        services.control.delete(*map(services.keys.bell, shards))
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


@pytest.mark.usefixtures("joining_at_once")
def test_what_was_given_to_a_drain_that_fails_is_kept_alive_by_nobody(services, client, monkeypatch, two_shards):
    jobs = [client.update(each, "text") for each in two_shards]
    own, given = (shard_of_memory(services, each) for each in two_shards)

    def fail(self, entries):
        give(services, given)
        raise redis.ConnectionError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(Drain, "_work", fail)
        with pytest.raises(redis.ConnectionError):
            Drain(services, own).run()
    assert services.keeper._bells == {}
    assert len(services.drains) == 0
    assert bell_of(services, given).startswith("drain:"), "it runs out by itself, and is rung for then"
    services.control.delete(services.keys.bell(own), services.keys.bell(given))
    Sweeper(services).sweep()
    assert bell_of(services, given).startswith("rung:")
    drain_all(services)
    assert [job.status() for job in jobs] == ["succeeded"] * 2


@pytest.mark.usefixtures("joining_at_once")
def test_after_a_slow_batch_shards_part(services, client, monkeypatch, two_shards):
    monkeypatch.setattr(drain_module, "QUICK", 0.0)
    services.settings = services.settings.model_copy(update={"drain_batch": 1})
    first = [client.update(each, "first") for each in (two_shards[0], *two_shards)]
    own, given = (shard_of_memory(services, each) for each in two_shards)
    give_during_the_first_batch(services, monkeypatch, given)
    real = Drain._work

    def work(self, entries):
        both = len(self._claims) == 2
        done = real(self, entries)
        if both:  # or there is nothing left to part with
            client.update(two_shards[1], "second")
        return done

    monkeypatch.setattr(Drain, "_work", work)
    before = messages_waiting(services)
    assert Drain(services, own).run() == 3
    assert [job.status() for job in first] == ["succeeded"] * 3
    assert bell_of(services, own) is None
    assert bell_of(services, given).startswith("rung:"), "somebody else is to work it"
    assert messages_waiting(services) == before + 1
    assert services.keeper._bells == {}
    assert Drain(services, given).run() == 1
    assert client.get(two_shards[1]).memory == "second"


def test_many_drains_at_once_end_every_job_once(services, client, openai_server, monkeypatch):
    """Threads that give and take while they work, over and over: no shard is forgotten, no job done twice."""
    monkeypatch.setattr(joining, "FEWEST", 2)
    monkeypatch.setattr(joining, "BUSY", 1)
    services.drains = Drains(1_000)
    services.settings = services.settings.model_copy(update={"drain_batch": 8})
    openai_server.latency_ms = 10
    joins = itertools.count()
    real = Drains.join

    def join(self, name, claims):
        joined = real(self, name, claims)
        next(joins) if joined else None
        return joined

    monkeypatch.setattr(Drains, "join", join)
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
        assert Drain(services, shard)._drains is not services.drains
    assert Drain(services, "0")._drains is services.drains
