"""Jobs that come late, and jobs worked in one batch, end as they would have one by one and in time."""

from __future__ import annotations

import pytest

from emendo_client import Job
from emendo_client.errors import JobError, MemoryNotFoundError
from emendo_client.testing.openai_server.faults import Fault
from emendo_config.store import scripts
from emendo_workers.intake.attempt import BatchRunner
from emendo_workers.intake.sweeper import Sweeper
from emendo_workers.services import Services
from tests.support.deaths import Killed
from tests.support.intake import added, bring_back, drain, put_aside, shard_of_job


def worked(services: Services, *jobs: Job) -> None:
    for job in jobs:
        drain(services, job)
        assert job.status() == "succeeded"


def test_a_late_restore_to_a_version_changes_what_nothing_newer_set(services, client):
    memory_id = added(services, client, "first", metadata={"old": 1})
    worked(services, client.update(memory_id, "second", metadata={"new": 2}))
    late = client.restore(memory_id, version=1)
    put_aside(services, memory_id, late)
    worked(services, client.delete(memory_id))
    bring_back(services, late)
    assert late.wait(1).results[0].event == "RESTORE"
    assert client.get(memory_id, include_deleted=True).is_deleted, "the delete is newer"
    worked(services, client.restore(memory_id))
    memory = client.get(memory_id)
    assert (memory.memory, memory.metadata) == ("first", {"old": 1})


def test_a_late_restore_of_which_nothing_applies_is_superseded(services, client):
    memory_id = added(services, client, "first")
    late = client.restore(memory_id, version=1)
    put_aside(services, memory_id, late)
    worked(services, client.update(memory_id, "second"), client.delete(memory_id))
    bring_back(services, late)
    assert late.wait(1).results[0].event == "SUPERSEDED"
    assert client.get(memory_id, include_deleted=True).memory == "second"


def test_a_late_patch_does_not_bring_back_a_key_that_a_newer_restore_left_out(services, client):
    memory_id = added(services, client, "text")
    worked(
        services, client.update(memory_id, metadata={"ghost": 1}), client.update(memory_id, metadata={"ghost": None})
    )
    late = client.update(memory_id, metadata={"ghost": 2})
    put_aside(services, memory_id, late)
    worked(services, client.restore(memory_id, version=1))
    bring_back(services, late)
    assert late.wait(1).results[0].event == "SUPERSEDED"
    assert client.get(memory_id).metadata == {}


def test_a_restore_finds_a_version_that_its_own_batch_makes(services, client):
    memory_id = added(services, client, "first")
    jobs = [
        client.update(memory_id, "second"),
        client.delete(memory_id),
        client.restore(memory_id, version=2),
        client.update(memory_id, "third"),
        client.restore(memory_id, version=3),
    ]
    drain(services, jobs[0])
    assert [job.wait(1).results[0].event for job in jobs] == ["UPDATE", "DELETE", "RESTORE", "UPDATE", "RESTORE"]
    assert [entry.new_memory for entry in client.history(memory_id)] == [
        "first",
        "second",
        None,
        "second",
        "third",
        "second",
    ]


def test_a_refusal_because_of_a_change_that_drops_out_is_decided_again(services, client, openai_server):
    """The first update would make version 2, but the provider refuses its text: the second one then fits."""
    memory_id = added(services, client, "first")
    openai_server.faults.add(Fault("bad_request", rate=1.0, match="unspeakable"))
    refused = client.update(memory_id, "unspeakable")
    fits = client.update(memory_id, metadata={"fits": True}, expected_version=1)
    drain(services, refused)
    assert refused.status() == "failed"
    assert fits.wait(1).status == "succeeded", fits.wait(1)
    assert [entry.version for entry in client.history(memory_id)] == [1, 2]


def test_an_update_is_not_lost_to_a_delete_that_is_cancelled_in_time(services, client, monkeypatch):
    memory_id = added(services, client, "first")
    deletion, update = client.delete(memory_id), client.update(memory_id, "second")

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(scripts, "open_memory", die)  # both have begun, their worker dies before it looks at the memory
        with pytest.raises(Killed):
            drain(services, deletion)
    with pytest.raises(JobError, match="still running"):
        deletion.cancel(timeout=0)
    services.control.delete(services.keys.wakeup(shard_of_job(services, deletion)))
    services.data.delete(services.keys.lock(memory_id))
    drain(services, update)
    assert deletion.status() == "cancelled"
    assert update.wait(1).status == "succeeded"
    assert client.get(memory_id).memory == "second"


def test_a_job_found_done_gives_its_memorys_lock_back(services, client, monkeypatch):
    memory_id = added(services, client, "first")
    job = client.update(memory_id, "second")
    _die_after_the_commit(services, job, monkeypatch)
    drain(services, job)
    assert job.status() == "succeeded"
    assert not services.data.exists(services.keys.lock(memory_id)), "the next job would wait for the lock to expire"


def test_a_job_found_done_answers_what_it_would_have_answered(services, client, monkeypatch):
    """An update older than the delete it meets: the memory stays deleted, so the result shows no text."""
    results = []
    for dies in (False, True):
        memory_id = added(services, client, "first")
        late = client.update(memory_id, "second")
        put_aside(services, memory_id, late)
        worked(services, client.delete(memory_id))
        if dies:
            services.control.zadd(services.keys.delayed, {f"{shard_of_job(services, late)}:{late.id}": 0}, xx=True)
            Sweeper(services).sweep()
            _die_after_the_commit(services, late, monkeypatch)
            drain(services, late)
        else:
            bring_back(services, late)
        results.append(late.wait(1).results[0].model_dump(exclude={"memory_id"}))
    assert results[0] == results[1]
    assert results[0]["memory"] is None


def test_only_a_dead_letter_can_be_replayed(services, client):
    job = client.add("hello", user_id="ana", infer=False)
    with pytest.raises(JobError, match="it is queued"):
        client.replay(job.id)
    drain(services, job)
    with pytest.raises(JobError, match="it is succeeded"):
        client.replay(job.id)


def test_an_erased_memory_is_not_found_like_any_other_that_is_not_there(services, client):
    memory_id = added(services, client, "first")
    worked(services, client.delete(memory_id, hard=True))
    for include_deleted in (False, True):
        with pytest.raises(MemoryNotFoundError):
            client.get(memory_id, include_deleted=include_deleted)
    late = client.update(memory_id, "second", expected_version=1)
    drain(services, late)
    assert late.wait(1).results[0].error["code"] == "MEMORY_ERASED"


def _die_after_the_commit(services: Services, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(BatchRunner, "_finish", die)
        with pytest.raises(Killed):
            drain(services, job)
    services.control.delete(services.keys.wakeup(shard_of_job(services, job)))
