"""Jobs that wait for another attempt while their memory is erased: its content leaves their payloads at once."""

from __future__ import annotations

import pytest

from emendo_client.testing import Fault
from emendo_workers.intake.attempt import BatchRunner
from emendo_workers.jobs.work import Entry
from tests.support.inferring import with_chat
from tests.support.intake import added, bring_back, drain, drain_all, let_time_pass
from tests.support.newer_release import TOO_NEW, change_payload

SECRET = "a secret"
OUTAGE = {"rate": 1.0, "retry_after": 600.0}


@pytest.fixture
def settings(emendo_settings, openai_server):
    return with_chat(emendo_settings, openai_server)


@pytest.fixture
def outage(openai_server):
    """Texts with the secret are not embedded until the faults are cleared."""
    openai_server.faults.add(Fault("rate_limit", match=SECRET, **OUTAGE))
    return openai_server.faults


def payload_of(services, record_id) -> str:
    return (services.control.hget(services.keys.job(record_id), "payload") or b"").decode()


def over(services, faults):
    """The provider answers again, and everything that waited is worked."""
    faults.clear()
    services.control.delete(*services.control.keys(f"{services.settings.key_prefix}pace*"))
    let_time_pass(services)
    drain_all(services)


def test_a_job_put_aside_keeps_no_content_of_a_memory_that_is_erased(services, client, outage):
    memory_id = added(services, client)
    job = client.update(memory_id, SECRET, {"key": SECRET})
    drain(services, job)
    assert job.status() == "retrying"
    assert SECRET in payload_of(services, job.id)
    drain(services, client.delete(memory_id, hard=True))
    assert SECRET not in payload_of(services, job.id)
    over(services, outage)
    assert [item.error["code"] for item in job.wait(1).results] == ["MEMORY_ERASED"]
    assert client.dead_letters() == []
    assert not services.control.exists(services.keys.dead_of(memory_id))


def test_a_job_that_a_worker_cannot_read_meanwhile_is_still_found_by_an_erasure(services, client, outage):
    memory_id = added(services, client)
    job = client.update(memory_id, SECRET)
    drain(services, job)
    change_payload(services, job.id, head={"format": TOO_NEW}, operation={})
    let_time_pass(services)
    drain_all(services)
    assert job.status() == "retrying"
    assert services.control.smembers(services.keys.dead_of(memory_id)) == {job.id.encode()}


def test_a_chunk_put_aside_keeps_the_content_of_other_memories_only(services, client, outage):
    erased, kept = added(services, client, "one"), added(services, client, "two")
    job = client.batch_update([{"memory_id": erased, "text": SECRET}, {"memory_id": kept, "text": f"{SECRET} kept"}])
    drain_all(services)
    drain(services, client.delete(erased, hard=True))
    payload = payload_of(services, f"{job.id}:0")
    assert (f'"{SECRET}"' in payload, f"{SECRET} kept" in payload) == (False, True)
    over(services, outage)
    first, second = job.wait(1).results
    assert (first.error["code"], second.error) == ("MEMORY_ERASED", None)
    assert client.get(kept).memory == f"{SECRET} kept"


def test_a_plan_that_waits_keeps_its_fact_and_decides_it_again(services, client, model, outage):
    memory_id = added(services, client, "I like tea.")
    model.updates("I like coffee.", "I like tea.", f"{SECRET} of tea and coffee")
    job = client.add("I like coffee", user_id="ana")
    drain_all(services)
    assert SECRET in payload_of(services, job.id)
    drain(services, client.delete(memory_id, hard=True))
    assert SECRET not in payload_of(services, job.id)
    assert "I like coffee." in payload_of(services, job.id)
    over(services, outage)
    assert [item.event for item in job.wait(1).results] == ["ADD"]


def test_erasing_a_user_clears_jobs_that_name_a_memory_alone(services, client, outage):
    memory_id = added(services, client)
    job = client.update(memory_id, SECRET)
    drain(services, job)
    erasure = client.erase_user("ana")
    drain(services, erasure)
    assert SECRET not in payload_of(services, job.id)
    over(services, outage)
    assert [item.error["code"] for item in job.wait(1).results] == ["MEMORY_ERASED"]


def test_a_job_that_is_put_aside_after_the_erasure_is_cleared_too(services, client, outage, monkeypatch):
    memory_id = added(services, client)
    job = client.update(memory_id, SECRET)
    real, erased = BatchRunner._finish, []

    def erase_first(self, outcomes):
        if not erased:
            erased.append(client.delete(memory_id, hard=True))
            services.control.delete(services.keys.wakeup(self._shard))
            other = BatchRunner(services, self._shard, "other", None)
            stream = services.keys.inbox(self._shard)
            found = [
                (entry_id.decode(), fields[b"job"].decode()) for entry_id, fields in services.control.xrange(stream)
            ]
            other.run([Entry(stream, *each) for each in found if each[1] != job.id])
        return real(self, outcomes)

    monkeypatch.setattr(BatchRunner, "_finish", erase_first)
    drain(services, job)
    assert erased[0].status() == "succeeded"
    assert job.status() == "retrying"
    assert SECRET not in payload_of(services, job.id)
    over(services, outage)


def test_a_job_that_succeeds_after_all_leaves_the_index(services, client, outage):
    memory_id = added(services, client)
    job = client.update(memory_id, SECRET)
    drain(services, job)
    assert services.control.smembers(services.keys.dead_of(memory_id)) == {job.id.encode()}
    outage.clear()
    bring_back(services, job)
    over(services, outage)
    assert job.status() == "succeeded"
    assert not services.control.exists(services.keys.dead_of(memory_id))
