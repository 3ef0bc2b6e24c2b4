"""After a hard delete nothing of the memory's content is anywhere; what is left says only that there was one."""

from __future__ import annotations

import pytest

from emendo_client import MemoryClient
from emendo_client.errors import MemoryNotFoundError
from emendo_client.testing.openai_server.faults import Fault
from emendo_workers.intake.drain import Drain
from emendo_workers.intake.sweeper import Sweeper
from emendo_workers.maintenance.expiry import expire_memories
from tests.support.deaths import DEATHS, Killed, die_at
from tests.support.erasing import (
    LABEL,
    OWNER,
    PRIVATE,
    SECRET,
    assert_nothing_is_left,
    erase,
    everything,
    secret_memory,
)
from tests.support.intake import added, drain, drain_all, let_time_pass, shard_of_memory, with_settings


def test_nothing_of_the_content_is_left_anywhere(services, client):
    memory_id = secret_memory(services, client)
    assert SECRET in everything(services)
    result = erase(services, client, memory_id)
    assert_nothing_is_left(services, OWNER)
    assert (result.results[0].event, result.results[0].previous_memory) == ("DELETE", None)
    assert client.conflicts() == []
    left = {name.decode() for name in services.data.hgetall(services.keys.memory(memory_id))}
    assert left == {
        *("id", "project", "version", "created_at", "updated_at", "is_deleted", "erased", "stamps"),
    }


def test_the_history_keeps_when_what_and_by_whom(services, client):
    memory_id = secret_memory(services, client)
    before = client.history(memory_id)
    result = erase(services, client, memory_id)
    history = client.history(memory_id)
    assert [entry.version for entry in history] == list(range(1, len(before) + 2))
    assert [(e.event, e.job_id, e.actor_id, e.updated_at) for e in history[:-1]] == [
        (e.event, e.job_id, e.actor_id, e.updated_at) for e in before
    ]
    assert (history[-1].event, history[-1].actor_id, history[-1].job_id) == ("DELETE", "officer", result.job_id)
    assert all(entry.new_memory is entry.old_memory is None for entry in history)
    assert all(entry.new_metadata is entry.old_metadata is None for entry in history)
    diagnosis = client.diagnose(memory_id)
    assert diagnosis.ok, diagnosis.findings
    assert diagnosis.erased


def test_an_erased_memory_cannot_be_read_changed_or_brought_back(services, client):
    memory_id = secret_memory(services, client)
    erase(services, client, memory_id)
    for include_deleted in (False, True):
        with pytest.raises(MemoryNotFoundError):
            client.get(memory_id, include_deleted=include_deleted)
    assert client.get_all(all_users=True).total == 0
    assert client.search(SECRET, all_users=True) == []
    jobs = [
        client.update(memory_id, SECRET),
        client.restore(memory_id),
        client.restore(memory_id, version=1),
        client.delete(memory_id),
    ]
    drain_all(services)
    assert [job.wait(1).error["code"] for job in jobs] == ["MEMORY_ERASED"] * 4
    assert client.dead_letters() == []
    assert_nothing_is_left(services)


@pytest.mark.parametrize("state", ["deleted", "expired", "expired and marked"])
def test_a_hidden_memory_can_be_erased(services, client, state):
    memory_id = added(services, client, SECRET, expires_at="2999-01-01T00:00:00Z")
    if state == "deleted":
        drain(services, client.delete(memory_id))
    else:
        services.data.hset(services.keys.memory(memory_id), "expires_at", "2020-01-01T00:00:00.000000+00:00")
        services.data.hset(services.keys.memory(memory_id), "expires_ms", "1577836800000")
    if state == "expired and marked":
        expire_memories(services.store, services.notifier, 2_000_000_000.0)
        drain_all(services)
    erase(services, client, memory_id)
    assert_nothing_is_left(services)


def test_erasing_what_is_erased_succeeds_and_changes_nothing(services, client):
    memory_id = secret_memory(services, client)
    erase(services, client, memory_id)
    before = client.history(memory_id)
    again = erase(services, client, memory_id)
    assert (again.status, again.results[0].event) == ("succeeded", None)
    assert client.history(memory_id) == before


def test_another_project_cannot_erase(services, client):
    memory_id = added(services, client, "mine")
    with MemoryClient(services.settings, project="another") as other:
        job = other.delete(memory_id, hard=True)
        drain_all(services)
        assert job.wait(1).error["code"] == "MEMORY_NOT_FOUND"
    assert client.get(memory_id).memory == "mine"


def test_what_was_queued_before_the_erasure_leaves_no_content(services, client):
    memory_id = added(services, client, SECRET)
    erase_job = client.delete(memory_id, hard=True)
    shard = shard_of_memory(services, memory_id)
    late = client.update(memory_id, f"{SECRET} late", {LABEL: PRIVATE})
    late_batch = client.batch_update([{"memory_id": memory_id, "text": SECRET}])
    Drain(services, shard).run()
    drain_all(services)
    assert erase_job.status() == "succeeded"
    assert late.wait(1).error["code"] == late_batch.wait(1).error["code"] == "MEMORY_ERASED"
    assert client.dead_letters() == []
    assert_nothing_is_left(services)


def test_a_conflict_that_arises_together_with_the_erasure_does_not_stay(services, client):
    memory_id = added(services, client, f"{SECRET} 1")
    drain(services, client.update(memory_id, f"{SECRET} 2"))
    client.update(memory_id, f"{SECRET} 3", expected_version=1, on_conflict="manual")
    erase(services, client, memory_id)
    assert_nothing_is_left(services)
    assert client.conflicts() == []


def test_a_job_that_waits_for_its_next_attempt_loses_the_content_when_it_runs(services, client, openai_server):
    memory_id = added(services, client, SECRET)
    openai_server.faults.add(Fault("unavailable", times=100))
    late = client.update(memory_id, f"{SECRET} late")
    drain(services, late)
    assert late.status() == "retrying"
    erase(services, client, memory_id)
    let_time_pass(services)
    drain_all(services)
    assert late.wait(1).error["code"] == "MEMORY_ERASED"
    assert_nothing_is_left(services)


@pytest.mark.parametrize("after", DEATHS)
def test_a_worker_that_dies_while_it_erases_leaves_nothing_in_the_end(
    services, client, monkeypatch, openai_server, after
):
    with_settings(services, client, max_attempts=1)
    deaths = 0
    for step in range(1, 50):
        memory_id = secret_memory(services, client)
        openai_server.faults.add(Fault("bad_request", times=100, match="refuse"))
        letter = client.update(memory_id, f"refuse {SECRET}")
        drain_all(services)
        openai_server.faults.clear()
        update = client.update(memory_id, f"{SECRET} 4")
        erase_job = client.delete(memory_id, hard=True)
        racing = client.update(memory_id, f"{SECRET} 5")
        with monkeypatch.context() as patch:
            die_at(patch, step, after=after)
            try:
                drain(services, erase_job)
            except Killed:
                deaths += 1
            else:
                break
        services.control.delete(services.keys.wakeup(shard_of_memory(services, memory_id)))
        services.data.delete(services.keys.lock(memory_id))
        Sweeper(services).sweep()
        drain_all(services)
        assert [job.status() for job in (update, erase_job, racing)] == ["succeeded", "succeeded", "failed"], step
        history = client.history(memory_id)
        assert [entry.version for entry in history] == list(range(1, len(history) + 1))
        assert [entry.job_id for entry in history[-2:]] == [update.id, erase_job.id], f"died at step {step}"
        assert_nothing_is_left(services)
        client.discard(letter.id)
    assert deaths >= 5
