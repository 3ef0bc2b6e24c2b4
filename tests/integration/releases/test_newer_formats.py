"""Formats that this release cannot read: nothing is lost, no attempt is spent, and everybody is told to upgrade."""

from __future__ import annotations

import pytest

from emendo_client.errors import ConfigurationError
from emendo_client.models import JobStatus
from emendo_client.testing import Fault
from emendo_client.testing.worker import WorkerProcess
from emendo_config.queues import INTERACTIVE
from emendo_config.spaces.bootstrap import ensure_index
from emendo_config.spaces.registry import SpaceRecord, read_registry
from emendo_gateway.metrics import exposition
from emendo_ops.doctor.control_redis import check_jobs
from emendo_ops.doctor.spaces import check_spaces
from emendo_workers.intake.sweeper import Sweeper
from emendo_workers.maintenance.housekeeping import keep_house
from tests.support.intake import account_of, added, drain, drain_all, let_time_pass, with_settings
from tests.support.newer_release import TOO_NEW, change_payload, change_registry, payload_of

TOO_OLD = "RELEASE_TOO_OLD"


def refused(call, *arguments, **more):
    """The suggestion of the refusal."""
    with pytest.raises(ConfigurationError) as caught:
        call(*arguments, **more)
    assert caught.value.error_code == TOO_OLD
    return caught.value.suggestion


def spoil_payload(services, record_id, stated):
    change_payload(services, record_id, head={"format": stated}, operation={"op": "unheard-of"})


def mend_payload(services, record_id):
    change_payload(services, record_id, head={"format": 1}, operation={"op": "update"})


def spoil_record(services, record_id, stated):
    services.control.hset(services.keys.job(record_id), mapping={"format": stated, "project": "default"})


def mend_record(services, record_id):
    services.control.hset(services.keys.job(record_id), "format", 1)


NEWER = pytest.mark.parametrize(
    ("spoil", "mend"), [(spoil_payload, mend_payload), (spoil_record, mend_record)], ids=["payload", "record"]
)


@NEWER
def test_a_job_of_a_newer_format_waits_for_a_newer_worker(services, client, spoil, mend, caplog):
    memory_id = added(services, client)
    before = client.update(memory_id, "before")
    job = client.update(memory_id, "newer")
    after = client.update(memory_id, "after")
    spoil(services, job.id, TOO_NEW)
    record = services.control.hget(services.keys.job(job.id), "payload")
    for _ in range(services.settings.max_attempts + 2):
        drain_all(services)
        let_time_pass(services)
    drain_all(services)
    assert [before.status(), after.status()] == ["succeeded"] * 2, "its neighbours never notice"
    status, attempts, payload = services.control.hmget(services.keys.job(job.id), "status", "attempts", "payload")
    assert (status in (b"queued", b"retrying"), int(attempts or 0), payload) == (True, 0, record)
    assert services.control.zcard(services.keys.delayed) == 1
    assert not services.faults.blocks(INTERACTIVE), "jobs that it can read are worked"
    assert caplog.text.count("some jobs wait, because of a fault of its own") == 1

    services.leases.renew()
    health = client.health()
    assert [(fault.code, fault.queues) for fault in health.worker_faults.values()] == [(TOO_OLD, [])]
    assert (health.ok, health.dead) == (True, 0)
    assert b"emendo_faulty_workers 1.0" in exposition(health)
    (finding,) = [each for each in check_jobs(services.settings) if each.check == "worker"]
    assert (finding.state, TOO_OLD in finding.found, "upgrade" in finding.mend) == ("fail", True, True)
    services.faults.look()
    assert services.faults._faults, "the job still waits"

    mend(services, job.id)  # a newer worker reads it
    let_time_pass(services)
    drain_all(services)
    assert job.wait(1).status == "succeeded"
    assert [entry.version for entry in client.history(memory_id)] == [1, 2, 3, 4]
    services.faults.look()
    services.leases.renew()
    assert client.health().worker_faults == {}


@pytest.mark.parametrize("place", ["payload", "record", "job"])
def test_a_chunk_of_a_newer_format_waits_and_the_account_balances(services, client, place):
    with_settings(services, client, chunk_items=2)
    ids = [added(services, client, f"fact {n}") for n in range(4)]
    job = client.batch_update([{"memory_id": each, "text": "new"} for each in ids])
    spoiled = job.id if place == "job" else f"{job.id}:1"
    (spoil_payload if place == "payload" else spoil_record)(services, spoiled, TOO_NEW)
    drain_all(services)
    done = 0 if place == "job" else 2
    account = account_of(services, job)
    assert (account["done"], account["open"], account["failed"], account["dead"]) == (done, 2 - done // 2, 0, 0)
    (mend_payload if place == "payload" else mend_record)(services, spoiled)
    let_time_pass(services)
    drain_all(services)
    assert [item.version for item in job.wait(1).results] == [2] * 4
    assert client.health().dead == 0


@pytest.mark.parametrize("stated", ["x", "-1.5", "1e400", "nan", "[]"])
@pytest.mark.parametrize("place", ["payload", "record"])
def test_a_format_that_is_none_is_damage(services, client, place, stated):
    memory_id = added(services, client)
    job = client.update(memory_id, "damaged")
    if place == "payload":
        change_payload(services, job.id, head={"format": stated}, operation={})
    else:
        spoil_record(services, job.id, stated)
    drain_all(services)
    assert [letter.error["code"] for letter in client.dead_letters()] == ["PAYLOAD_UNREADABLE"]


def test_a_client_refuses_a_newer_record_and_changes_nothing(services, client):
    memory_id = added(services, client)
    job = client.update(memory_id, "newer")
    spoil_record(services, job.id, TOO_NEW)
    record = services.control.hgetall(services.keys.job(job.id))
    for call in (job.status, job.info, job.cancel, client.jobs, lambda: client.replay(job.id)):
        assert "upgrade" in refused(call)
    refused(lambda: client.discard(job.id))
    refused(lambda: client.dead_letter(job.id))
    refused(lambda: job.wait(1))
    assert services.control.hgetall(services.keys.job(job.id)) == record
    mend_record(services, job.id)
    drain(services, job)
    assert job.status() == "succeeded"


def test_a_newer_dead_letter_is_listed_by_no_older_client_and_kept_by_older_workers(services, client, openai_server):
    memory_id = added(services, client)
    openai_server.faults.add(Fault("bad_request", times=1, match="sorry"))
    job = client.update(memory_id, "sorry")
    drain(services, job)
    change_payload(services, job.id, head={"format": TOO_NEW}, operation={})
    payload = payload_of(services, job.id)
    (letter,) = client.dead_letters()
    assert (letter.payload, str(TOO_NEW) in letter.raw_payload) == (None, True), "it is shown as it is"
    spoil_record(services, job.id, TOO_NEW)
    for call in (client.dead_letters, client.replay_all, client.discard_all):
        refused(call)
    keep_house(services.store, services.notifier, services.store.control_time())
    Sweeper(services).sweep()
    assert payload_of(services, job.id) == payload


class TestRegistry:
    def test_a_worker_that_is_too_old_refuses_to_start_and_changes_nothing(self, services, settings, tmp_path):
        change_registry(services, format=TOO_NEW)
        registry = services.data.hgetall(services.keys.spaces)
        assert "upgrade" in refused(ensure_index, services.data, settings)
        log = tmp_path / "worker.log"
        with pytest.raises(RuntimeError, match="registry has format 99, and this release reads none above 2"):
            WorkerProcess(settings, log).start()
        assert "upgrade" in log.read_text()
        assert services.data.hgetall(services.keys.spaces) == registry

    def test_a_worker_that_meets_a_newer_registry_claims_nothing(self, services, client, caplog):
        memory_id = added(services, client)
        registry = services.data.hgetall(services.keys.spaces)
        change_registry(services, format=TOO_NEW)
        jobs = [client.update(memory_id, f"text {number}") for number in range(3)]
        for _ in range(services.settings.max_attempts + 2):
            drain_all(services)
            let_time_pass(services)
        assert {(job.status(), job.info().attempts) for job in jobs} <= {("retrying", 0), ("queued", 0)}
        assert services.faults.blocks(INTERACTIVE)
        assert "the worker claims no jobs" in caplog.text
        services.leases.renew()
        health = client.health()
        assert [fault.code for fault in health.worker_faults.values()] == [TOO_OLD]
        assert not health.ok
        assert b"emendo_faulty_workers 1.0" in exposition(health)
        (finding,) = [each for each in check_jobs(services.settings) if each.check == "worker"]
        assert (finding.state, TOO_OLD in finding.found) == ("fail", True)
        Sweeper(services)._check_index()
        services.data.hset(services.keys.spaces, mapping=registry)
        services.faults.look()
        let_time_pass(services)
        drain_all(services)
        assert [job.wait(1).status for job in jobs] == [JobStatus.SUCCEEDED] * 3
        assert [entry.version for entry in client.history(memory_id)] == [1, 2, 3, 4]

    def test_clients_and_the_doctor_say_that_they_are_too_old(self, services, client, settings):
        memory_id = added(services, client)
        change_registry(services, format=TOO_NEW)
        for call in (lambda: client.search("food", user_id="ana"), lambda: client.reembed(dimensions=32)):
            assert "upgrade" in refused(call)
        refused(client.diagnose, memory_id)
        (finding,) = check_spaces(services.data, settings)
        assert (finding.state, "upgrade" in finding.mend) == ("fail", True)
        assert client.get(memory_id).memory == "I dislike seafood.", "what needs no registry works"


def test_one_entry_of_a_newer_format_is_enough(services):
    (own,) = read_registry(services.data, services.keys)
    services.data.hset(services.keys.spaces, "other", own.to_json().replace("{", '{"format":3,', 1))
    refused(read_registry, services.data, services.keys)
    assert SpaceRecord.from_json(own.to_json()) == own
