"""Refusals are no dead letters; lists of earlier releases live on; an erasure reads its own dead letters alone."""

from __future__ import annotations

import json
import time

import pytest

from emendo_client import MemoryClient
from emendo_client.errors import JobError
from emendo_client.testing.openai_server.faults import Fault
from emendo_config.store.pipeline import as_text
from emendo_workers.jobs.dead_letter_erasure import redact_dead_letters
from emendo_workers.maintenance.dead_letters import adopt_unsorted, discard_old
from emendo_workers.maintenance.housekeeping import keep_house
from tests.support.erasing import erase, everything
from tests.support.intake import account_of, added, drain, drain_all, reconfigure, with_settings


@pytest.fixture(autouse=True)
def unbearable(openai_server):
    """The provider refuses texts that say so."""
    openai_server.faults.add(Fault("bad_request", times=10_000, match="unbearable"))


def unsorted(services, client) -> None:
    """Puts the dead letters where an earlier release lists them, without an index."""
    control, keys = services.control, services.keys
    letters = control.zrange(keys.dead(client.project), 0, -1)
    control.rename(keys.dead(client.project), keys.unsorted_dead)
    control.delete(keys.dead_projects, *control.keys(keys.dead_of("*")))
    for record_id in letters:
        control.hdel(keys.job(as_text(record_id)), "dead_of")


def test_refused_requests_fail_and_expire_and_are_no_dead_letters(services, client):
    memory_id, deleted = added(services, client), added(services, client)
    drain(services, client.delete(deleted))
    jobs = [
        client.update("no-such-memory", "x"),
        client.update(memory_id, "x", expected_version=9),
        client.delete(memory_id, expected_version=9),
        client.update(deleted, "x"),
        client.restore(memory_id, version=7),
        client.resolve_conflict(f"{memory_id}:no-such-conflict", "ours"),
    ]
    drain_all(services)
    assert {job.status() for job in jobs} == {"failed"}
    assert client.dead_letters() == []
    assert client.health().dead == 0
    for job in jobs:
        record = services.keys.job(job.id)
        assert services.control.hget(record, "payload") is None
        assert 0 < services.control.ttl(record) <= services.settings.job_ttl
        with pytest.raises(JobError):
            client.replay(job.id)


def test_a_chunk_is_a_dead_letter_while_one_of_its_items_can_be_replayed(services, client, openai_server):
    with_settings(services, client, chunk_items=2)
    memory_id = added(services, client)
    job = client.batch_update(
        [
            {"memory_id": "nobody-knows-it", "text": "a"},
            {"memory_id": memory_id, "text": "unbearable"},
            {"memory_id": "nobody-knows-it", "text": "b"},
            {"memory_id": memory_id, "text": "c", "expected_version": 9},
        ]
    )
    drain_all(services)
    assert [letter.job_id for letter in client.dead_letters()] == [f"{job.id}:0"]
    assert account_of(services, job)["dead"] == 1
    openai_server.faults.clear()
    client.replay(job.id)
    drain_all(services)
    result = job.wait(1)
    codes = [(item.error or {}).get("code") for item in result.results]
    assert codes == ["MEMORY_NOT_FOUND", None, "MEMORY_NOT_FOUND", "VERSION_MISMATCH"]
    account = {"items": 4, "chunks": 2, "done": 4, "succeeded": 1, "failed": 3, "open": 0, "dead": 0}
    assert account_of(services, job) == account
    assert client.dead_letters() == []


def test_dead_letters_of_an_earlier_release_are_listed_replayed_discarded_and_erased(services, client, openai_server):
    memory_id, other = added(services, client), added(services, client)
    jobs = [client.update(each, "unbearable") for each in (memory_id, other, other)]
    drain_all(services)
    unsorted(services, client)
    assert {letter.job_id for letter in client.dead_letters()} == {job.id for job in jobs}
    assert client.health().dead == 3
    client.discard(jobs[1].id)
    assert client.replay_all(memory_id=other) == 1
    erase(services, client, memory_id)
    assert "unbearable" not in as_text(services.control.hget(services.keys.job(jobs[0].id), "payload"))
    assert services.control.zcard(services.keys.unsorted_dead) == 1


def test_housekeeping_sorts_the_dead_letters_of_an_earlier_release(services, client):
    memory_id = added(services, client)
    job = client.update(memory_id, "unbearable")
    drain(services, job)
    before = services.control.zrange(services.keys.dead(client.project), 0, -1, withscores=True)
    unsorted(services, client)
    services.control.zadd(services.keys.unsorted_dead, {"a-record-that-is-gone": 1})
    assert keep_house(services.store, services.notifier, time.time())["sorted_dead"] == 1
    assert services.control.exists(services.keys.unsorted_dead) == 0
    assert services.control.zrange(services.keys.dead(client.project), 0, -1, withscores=True) == before
    assert adopt_unsorted(services.store) == 0
    erase(services, client, memory_id)
    assert "unbearable" not in everything(services)


def test_old_dead_letters_are_discarded_when_a_setting_says_so(services, client, monkeypatch):
    jobs = [client.add(f"unbearable {n}", user_id="ana", infer=False) for n in range(5)]
    drain_all(services)
    assert discard_old(services.store, time.time() + 1_000) == 0
    reconfigure(services, dead_ttl=500.0)
    assert discard_old(services.store, time.time() + 400) == 0
    assert keep_house(services.store, services.notifier, time.time() + 600)["discarded_dead"] == 5
    assert client.dead_letters() == []
    assert services.control.exists(services.keys.dead_projects) == 0
    for job in jobs:
        assert 0 < services.control.ttl(services.keys.job(job.id)) <= services.settings.job_ttl
    assert "unbearable" not in everything(services)
    assert services.control.keys(services.keys.dead_of("*")) == []


def test_the_index_names_the_dead_letters_of_a_memory_until_they_are_none(services, client, openai_server):
    memory_id = added(services, client)
    jobs = [client.update(memory_id, f"unbearable {n}") for n in range(3)]
    drain_all(services)
    index = services.keys.dead_of(memory_id)
    assert {as_text(each) for each in services.control.smembers(index)} == {job.id for job in jobs}
    client.discard(jobs[0].id)
    client.replay(jobs[1].id)
    assert {as_text(each) for each in services.control.smembers(index)} == {jobs[2].id}
    openai_server.faults.clear()
    client.replay_all()
    assert services.control.exists(index) == 0


def test_an_erasure_does_not_read_the_dead_letters_of_others(services, client, emendo_settings, monkeypatch):
    """100,000 of them made an erasure take 1.7 s and 115 MB; each one that is read would count here."""
    ids = [added(services, client, f"fact {n}") for n in range(2)]
    for memory_id in ids:
        drain(services, client.update(memory_id, "unbearable"))

    def reads_of_erasing(memory_id):
        return reads_within(services, lambda: drain(services, client.delete(memory_id, hard=True)))

    alone = reads_of_erasing(ids[0])
    with MemoryClient(emendo_settings, project="another") as stranger:
        for n in range(20):
            stranger.add(f"unbearable {n}", user_id="ben", infer=False)
        drain_all(services)
        assert reads_of_erasing(ids[1]) <= alone
        assert len(stranger.dead_letters()) == 20
        stranger.discard_all()
    letters = client.dead_letters()
    assert len(letters) == 2
    assert not [letter for letter in letters if "text" in letter.payload[0]]


def reads_within(services, work) -> int:
    """The commands that read a record or a list of dead letters of this installation, also those of scripts.

    Redis' own statistics count what the workers of other tests read, too.
    """
    names = ("hget", "hmget", "hgetall", "zrange", "zscan", "smembers", "sscan")
    count = 0
    with services.control.monitor() as monitor:
        work()
        services.control.echo("the work is done")
        for each in monitor.listen():
            name, _, rest = each["command"].partition(" ")
            if "the work is done" in rest:
                return count
            count += name.lower() in names and services.settings.key_prefix in rest
    raise AssertionError("Redis ended")


def test_redacting_nothing_asks_nothing(services):
    calls = services.control.info("commandstats").get("cmdstat_smembers", {}).get("calls", 0)
    redact_dead_letters([], services.store)
    assert services.control.info("commandstats").get("cmdstat_smembers", {}).get("calls", 0) == calls


def test_a_dead_letter_says_which_memories_it_is_about(services, client):
    memory_id = added(services, client)
    job = client.update(memory_id, "unbearable")
    drain(services, job)
    assert json.loads(services.control.hget(services.keys.job(job.id), "dead_of")) == [memory_id]
