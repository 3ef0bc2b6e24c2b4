"""Cancelling a batch: what is not committed never is, what is committed stays, and the result says which."""

from __future__ import annotations

import pytest

from emendo_client.errors import JobError
from emendo_client.exchanges import jobs
from emendo_client.testing.openai_server.faults import Fault
from emendo_workers.intake.attempt import BatchRunner
from emendo_workers.intake.sweeper import Sweeper
from tests.support.deaths import Killed
from tests.support.intake import account_of, added, drain_all, let_time_pass, with_settings


def ask_to_cancel(client, job) -> str:
    """As `job.cancel` does, without waiting for the workers' answer."""
    return client._run(jobs.cancel(client.settings, client._keys, client.project, job.id))


def codes(job) -> list[str | None]:
    return [(item.error or {}).get("code") for item in job.wait(1).results]


@pytest.fixture
def ids(services, client):
    return [added(services, client, f"fact {n}") for n in range(3)]


def updates(ids):
    return [{"memory_id": memory_id, "text": f"new {n}"} for n, memory_id in enumerate(ids)]


def test_a_batch_cancelled_before_any_work_changes_nothing(services, client, ids, openai_server):
    with_settings(services, client, chunk_items=2)
    job = client.batch_update(updates(ids))
    assert ask_to_cancel(client, job) == "running"
    openai_server.clear_requests()
    drain_all(services)
    assert job.wait(1).status == "cancelled"
    assert codes(job) == ["CANCELLED"] * 3
    assert openai_server.requests == []
    assert {client.get(memory_id).version for memory_id in ids} == {1}
    assert client.dead_letters() == []
    assert job.cancel() is True
    assert services.control.smembers(services.keys.cancelling) == set()


def test_a_batch_cancelled_between_two_chunks_keeps_what_the_first_one_did(services, client, ids, monkeypatch):
    with_settings(services, client, chunk_items=2, bulk_shards=1)
    job = client.batch_update(updates(ids))
    real = BatchRunner._finish

    def cancel_after_the_first(self, outcomes):
        ended = real(self, outcomes)
        ask_to_cancel(client, job)
        return ended

    monkeypatch.setattr(BatchRunner, "_finish", cancel_after_the_first)
    drain_all(services)
    assert job.wait(1).status == "partially_succeeded"
    assert codes(job) == [None, None, "CANCELLED"]
    assert [client.get(memory_id).version for memory_id in ids] == [2, 2, 1]
    assert client.dead_letters() == []
    assert job.cancel() is False


def test_a_batch_cancelled_while_it_embeds_stops_before_the_commit(services, client, ids, monkeypatch):
    job = client.batch_update(updates(ids))
    real = services.embedding.embed

    def cancel_while_embedding(texts, meter=None):
        ask_to_cancel(client, job)
        return real(texts)

    monkeypatch.setattr(services.embedding, "embed", cancel_while_embedding)
    drain_all(services)
    assert job.wait(1).status == "cancelled"
    assert {client.get(memory_id).version for memory_id in ids} == {1}


def test_items_that_were_settled_before_the_cancellation_stay_settled(services, client, ids):
    lock = services.keys.lock(ids[1])
    services.data.set(lock, "another worker", px=60_000)
    job = client.batch_update(updates(ids))
    drain_all(services)
    ask_to_cancel(client, job)
    services.data.delete(lock)
    let_time_pass(services)
    drain_all(services)
    assert job.wait(1).status == "partially_succeeded"
    assert codes(job) == [None, "CANCELLED", None]
    assert [client.get(memory_id).version for memory_id in ids] == [2, 1, 2]
    assert (account_of(services, job)["succeeded"], account_of(services, job)["failed"]) == (2, 1)


def test_what_a_dead_worker_had_committed_is_not_called_cancelled(services, client, ids, monkeypatch, openai_server):
    job = client.batch_update(updates(ids))

    def die(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(BatchRunner, "_finish", die)
        with pytest.raises(Killed):
            drain_all(services)
    ask_to_cancel(client, job)
    openai_server.clear_requests()
    for raw in services.control.smembers(services.keys.shards):
        services.control.delete(services.keys.wakeup(raw.decode()))
    drain_all(services)
    assert job.wait(1).status == "succeeded"
    assert codes(job) == [None] * 3
    assert openai_server.requests == []


def test_a_chunk_that_waits_for_its_next_attempt_is_told_at_once(services, client, ids, openai_server):
    with_settings(services, client, retry_base=200.0, retry_max=300.0, chunk_items=1)
    openai_server.faults.add(Fault("unavailable", times=100))
    job = client.batch_update(updates(ids))
    drain_all(services)
    Sweeper(services).sweep()
    assert client.job(f"{job.id}:0").status() == "retrying"
    ask_to_cancel(client, job)
    Sweeper(services).sweep()
    drain_all(services)
    assert job.wait(1).status == "cancelled"


def test_a_batch_that_is_done_cannot_be_cancelled(services, client, ids):
    job = client.batch_update(updates(ids))
    drain_all(services)
    assert job.cancel() is False
    assert job.status() == "succeeded"


def test_a_replay_after_a_cancellation_does_its_work(services, client, ids, openai_server):
    """An item that failed before the cancellation may be replayed, and must not be taken for cancelled again."""
    with_settings(services, client, chunk_items=2)
    openai_server.faults.add(Fault("bad_request", times=100, match="new 0"))
    services.data.set(services.keys.lock(ids[2]), "another worker", px=60_000)
    job = client.batch_update(updates(ids))
    drain_all(services)
    ask_to_cancel(client, job)
    services.data.delete(services.keys.lock(ids[2]))
    let_time_pass(services)
    drain_all(services)
    assert codes(job) == ["EMBEDDING", None, "CANCELLED"]
    openai_server.faults.clear()
    client.replay(job.id)
    drain_all(services)
    assert codes(job) == [None, None, "CANCELLED"]
    assert client.get(ids[0]).memory == "new 0"


def test_another_project_cannot_cancel_a_batch(services, client, ids):
    job = client.batch_update(updates(ids))
    steps = jobs.cancel(client.settings, client._keys, "another", job.id)
    with pytest.raises(Exception, match="no such job"):
        client._run(steps)
    drain_all(services)
    assert job.wait(1).status == "succeeded"


def test_a_chunk_is_not_cancelled_without_its_job_which_would_wait_for_it_for_ever(services, client, ids):
    with_settings(services, client, chunk_items=2)
    job = client.batch_update(updates(ids))
    with pytest.raises(JobError) as refused:
        client.job(f"{job.id}:0").cancel()
    assert refused.value.error_code == "CHUNK"
    assert refused.value.details == {"job_id": job.id}
    drain_all(services)
    assert job.wait(1).status == "succeeded"
