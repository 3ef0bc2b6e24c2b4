"""Memories with thousands of versions: no single command works through all of them, and nobody sees a half erasure."""

from __future__ import annotations

import threading
import time
from itertools import pairwise

import pytest
import redis

from emendo_client.exchanges import histories
from emendo_config.store import scripts
from emendo_config.store.formats import version_entry_id
from emendo_workers.intake.drain import Drain
from emendo_workers.maintenance.housekeeping import keep_house
from emendo_workers.memories import erasure
from tests.support.deaths import DEATHS, Killed, die_at
from tests.support.erasing import SECRET, assert_nothing_is_left
from tests.support.intake import added, drain_all, let_time_pass, shard_of_memory

VERSIONS = 5_000


def with_long_history(services, client, versions: int = VERSIONS) -> str:
    """A memory whose history has been as long as this for years."""
    memory_id = added(services, client, f"{SECRET} 1")
    pipeline = services.data.pipeline(transaction=False)
    [(_, entry)] = services.data.xrange(services.keys.history(memory_id))
    for version in range(2, versions + 1):
        text = {b"old_memory": f"{SECRET} {version - 1}", b"new_memory": f"{SECRET} {version}"}
        fields = {**entry, **text, b"version": version, b"event": "UPDATE", b"old_metadata": "{}"}
        pipeline.xadd(services.keys.history(memory_id), fields, version_entry_id(version))
    pipeline.hset(services.keys.memory(memory_id), mapping={"version": versions, "memory": f"{SECRET} {versions}"})
    pipeline.execute()
    return memory_id


@pytest.fixture
def entries_per_command(services, monkeypatch):
    """The most history entries that any one command of this process read or moved."""
    most = {"entries": 0, "calls": 0}
    real = scripts.execution.round_trip

    def watched(connection, commands, *more):
        replies = real(connection, commands, *more)
        for reply in replies:
            if isinstance(reply, list):
                most["calls"] += 1
                most["entries"] = max(most["entries"], _entries(reply))
        return replies

    monkeypatch.setattr(scripts.execution, "round_trip", watched)
    return most


def _entries(reply) -> int:
    if not isinstance(reply, list):
        return 0
    is_stream = bool(reply) and all(isinstance(each, list | tuple) and len(each) == 2 for each in reply)
    return max([len(reply) if is_stream else 0, *map(_entries, reply)])


def test_an_erasure_moves_a_bounded_number_of_entries_at_a_time(services, client, entries_per_command):
    memory_id = with_long_history(services, client)
    job = client.delete(memory_id, hard=True)
    before = services.data.info("commandstats")
    drain_all(services)
    after = services.data.info("commandstats")
    assert job.status() == "succeeded"
    added_entries = after["cmdstat_xadd"]["calls"] - before["cmdstat_xadd"]["calls"]
    trims = after["cmdstat_xtrim"]["calls"]
    assert added_entries >= VERSIONS
    assert trims >= VERSIONS // erasure.STEP, "every step trims what it has moved"
    assert 0 < entries_per_command["entries"] <= erasure.STEP
    assert_nothing_is_left(services)
    history = client.history(memory_id)
    assert [entry.version for entry in history] == list(range(1, VERSIONS + 2))
    assert client.diagnose(memory_id).ok
    assert not services.data.exists(services.keys.erasures, services.keys.erased_history(memory_id))


def test_the_commit_itself_touches_no_entry_but_its_own(services, client):
    memory_id = with_long_history(services, client)
    client.delete(memory_id, hard=True)
    with pytest.MonkeyPatch.context() as patch:
        before = services.data.info("commandstats")["cmdstat_xadd"]["calls"]
        _die_after_the_commit(services, memory_id, patch)
    assert services.data.info("commandstats")["cmdstat_xadd"]["calls"] - before <= 2
    assert services.data.xlen(services.keys.erased_history(memory_id)) == VERSIONS + 1
    _wake(services, memory_id)
    assert_nothing_is_left(services)


def test_long_histories_are_read_in_pages(services, client):
    memory_id = with_long_history(services, client)
    before = services.data.info("commandstats")["cmdstat_xrange"]["calls"]
    history = client.history(memory_id)
    assert services.data.info("commandstats")["cmdstat_xrange"]["calls"] - before >= VERSIONS // histories.PAGE
    assert [entry.new_memory for entry in history] == [f"{SECRET} {n}" for n in range(1, VERSIONS + 1)]
    findings = {finding.check: finding.ok for finding in client.diagnose(memory_id).findings}
    assert findings["history"]
    assert findings["history_versions"]
    assert findings["history_end"]
    pages = services.data.info("commandstats")["cmdstat_xrange"]["calls"] - before
    assert 2 * VERSIONS // histories.PAGE <= pages <= 2 * (VERSIONS // histories.PAGE + 1) + 1, "each of them once"


def test_whoever_reads_meanwhile_sees_every_version_and_no_content(services, client):
    memory_id = with_long_history(services, client, 500)
    job = client.delete(memory_id, hard=True)
    with pytest.MonkeyPatch.context() as patch:
        _die_after_the_commit(services, memory_id, patch)
    moved = 0
    while services.data.exists(services.keys.erased_history(memory_id)):
        history = client.history(memory_id)
        assert [entry.version for entry in history] == list(range(1, 502))
        assert all(entry.old_memory is entry.new_memory is entry.new_metadata is None for entry in history)
        assert client.diagnose(memory_id).ok
        move = scripts.move_erased(
            memory=services.keys.memory(memory_id),
            history=services.keys.history(memory_id),
            erased_history=services.keys.erased_history(memory_id),
            until_id="501-0",
            count=70,
        )
        scripts.run(services.data, [move])
        moved += 1
    assert moved == 8
    _wake(services, memory_id)
    assert job.status() == "succeeded"
    assert_nothing_is_left(services)


@pytest.mark.parametrize("after", DEATHS)
def test_a_worker_that_dies_between_any_two_steps_leaves_nothing_in_the_end(services, client, monkeypatch, after):
    monkeypatch.setattr(erasure, "STEP", 2)
    deaths = 0
    for step in range(1, 60):
        memory_id = with_long_history(services, client, 9)
        job = client.delete(memory_id, hard=True)
        with monkeypatch.context() as patch:
            die_at(patch, step, after=after)
            try:
                Drain(services, shard_of_memory(services, memory_id)).run()
            except Killed:
                deaths += 1
            else:
                break
        _wake(services, memory_id)
        assert job.status() == "succeeded", step
        assert [entry.version for entry in client.history(memory_id)] == list(range(1, 11)), step
        assert_nothing_is_left(services)
    assert deaths > 20


def test_an_erasure_that_takes_long_lets_other_jobs_pass_and_spends_no_attempts(services, client, monkeypatch):
    monkeypatch.setattr(erasure, "_LONGEST", 0.0)  # one step for each attempt
    memory_id = with_long_history(services, client, 3 * erasure.STEP)
    job = client.delete(memory_id, hard=True)
    for left in (3, 2, 1):
        drain_all(services)
        assert (job.status(), job.info().attempts) == ("retrying", 0), left
        let_time_pass(services)
    drain_all(services)
    assert job.wait(1).results[0].event == "DELETE"
    assert_nothing_is_left(services)


def test_housekeeping_ends_an_erasure_that_no_job_comes_back_to(services, client):
    memory_id = with_long_history(services, client, 300)
    job = client.delete(memory_id, hard=True)
    with pytest.MonkeyPatch.context() as patch:
        _die_after_the_commit(services, memory_id, patch)
    services.control.delete(services.keys.job(job.id))
    keep_house(services.store, services.notifier, time.time())
    assert services.data.exists(services.keys.erased_history(memory_id)), "its job may still come back"
    keep_house(services.store, services.notifier, time.time() + 120)
    assert_nothing_is_left(services)
    assert [entry.version for entry in client.history(memory_id)] == list(range(1, 302))
    assert not services.data.exists(services.keys.erasures)


def test_a_history_that_grows_while_it_is_read_is_still_diagnosed_as_of_one_moment(services, client):
    memory_id = with_long_history(services, client, 3 * histories.PAGE)
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.wait(0.02):
            number += 1
            client.update(memory_id, metadata={"n": number})
            drain_all(services)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(10):
            checks = {finding.check: finding for finding in client.diagnose(memory_id).findings}
            assert checks["history_end"].ok, checks["history_end"]
            assert checks["newest_metadata"].ok, checks["newest_metadata"]
    finally:
        stop.set()
        writer.join()
    versions = [entry.version for entry in client.history(memory_id)]
    assert all(later == earlier + 1 for earlier, later in pairwise(versions))


def _die_after_the_commit(services, memory_id: str, patch: pytest.MonkeyPatch) -> None:
    """A worker that is killed with the first step after the commit."""

    def die(*_: object, **__: object) -> None:
        raise Killed

    patch.setattr("emendo_workers.intake.dispatch.finish_erasures", die)
    with pytest.raises(Killed):
        Drain(services, shard_of_memory(services, memory_id)).run()


def _wake(services, memory_id: str) -> None:
    """The leases have ended, and a sweep has looked for work."""
    services.control.delete(services.keys.wakeup(shard_of_memory(services, memory_id)))
    services.data.delete(services.keys.lock(memory_id))
    let_time_pass(services)
    drain_all(services)


def test_an_update_is_refused_as_long_as_redis_is_busy_and_waits(services, client, monkeypatch):
    """BUSY is said to everybody while a script of somebody runs too long."""
    memory_id = added(services, client)
    job = client.update(memory_id, "later")
    real = scripts.execution.round_trip
    busy = redis.ResponseError("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.")

    def answer(connection, commands, *more):
        if any(scripts.open_memory.runs_in(command) for command in commands):
            raise busy
        return real(connection, commands, *more)

    with monkeypatch.context() as patch:
        patch.setattr(scripts.execution, "round_trip", answer)
        drain_all(services)
    assert (job.status(), job.info().attempts, job.info().error["code"]) == ("retrying", 0, "STORE_AWAY")
    let_time_pass(services)
    drain_all(services)
    assert job.status() == "succeeded"
