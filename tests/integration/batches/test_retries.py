"""Retries in a batch: items that may yet succeed are tried again, and none that is settled."""

from __future__ import annotations

import pytest

from emendo_client.errors import JobError, JobTimeoutError
from emendo_client.testing.openai_server.faults import Fault
from emendo_workers.intake.attempt import BatchRunner
from emendo_workers.intake.sweeper import Sweeper
from tests.support.deaths import Killed
from tests.support.intake import account_of, added, drain_all, let_time_pass, with_settings


@pytest.fixture
def single_inputs(services):
    """One text in a request, so that a fault strikes one item; no quick retries."""
    pipeline = services.embedding.requests
    pipeline._settings = pipeline._settings.model_copy(update={"embedding_max_inputs": 1, "embedding_quick_retries": 0})


def inputs(openai_server) -> list[str]:
    return sorted(text for request in openai_server.requests for text in request.inputs)


def ttl_of(services, record_id: str) -> int:
    return services.control.ttl(services.keys.job(record_id))


@pytest.mark.usefixtures("single_inputs")
def test_only_the_items_that_failed_transiently_are_tried_again(services, client, openai_server):
    ids = [added(services, client, f"fact {n}") for n in range(4)]
    openai_server.clear_requests()
    openai_server.faults.add(Fault("unavailable", times=1, match="new 2"))
    job = client.batch_update([{"memory_id": memory_id, "text": f"new {n}"} for n, memory_id in enumerate(ids)])
    drain_all(services)
    assert [client.get(memory_id).version for memory_id in ids] == [2, 2, 1, 2]
    whole = job.info()
    assert (whole.status, whole.attempts, whole.error["code"]) == ("running", 1, "PROVIDER_FAILING")
    with pytest.raises(JobTimeoutError, match="PROVIDER_FAILING"):
        job.wait(0)
    chunk = client.job(f"{job.id}:0").info()
    assert (chunk.status, chunk.attempts, chunk.error["code"]) == ("retrying", 1, "PROVIDER_FAILING")
    assert chunk.next_attempt_at > chunk.submitted_at
    openai_server.clear_requests()
    let_time_pass(services)
    drain_all(services)
    assert inputs(openai_server) == ["new 2"]
    result = job.wait(1)
    assert (result.status, result.attempts, result.error) == ("succeeded", 2, None)
    assert [item.memory for item in result.results] == ["new 0", "new 1", "new 2", "new 3"]
    assert [len(client.history(memory_id)) for memory_id in ids] == [2] * 4
    changes = services.control.xrange(services.keys.feed)
    assert len([raw for _, raw in changes if raw[b"job_id"] == job.id.encode()]) == 4


def test_an_item_whose_memory_is_locked_waits_alone_and_spends_no_attempt(services, client):
    ids = [added(services, client, f"fact {n}") for n in range(3)]
    lock = services.keys.lock(ids[1])
    services.data.set(lock, "another worker", px=60_000)
    job = client.batch_update([{"memory_id": memory_id, "text": "new"} for memory_id in ids])
    for _ in range(services.settings.max_attempts + 1):
        let_time_pass(services)
        drain_all(services)
    assert [client.get(memory_id).version for memory_id in ids] == [2, 1, 2]
    services.data.delete(lock)
    let_time_pass(services)
    drain_all(services)
    assert (job.wait(1).status, job.info().attempts) == ("succeeded", 1)
    assert [client.get(memory_id).version for memory_id in ids] == [2, 2, 2]


@pytest.mark.usefixtures("single_inputs")
def test_exhausted_attempts_dead_letter_their_chunk_and_a_replay_repairs_the_account(services, client, openai_server):
    with_settings(services, client, max_attempts=2, chunk_items=2)
    ids = [added(services, client, f"fact {n}") for n in range(5)]
    openai_server.faults.add(Fault("unavailable", times=100, match="down"))
    texts = ["new 0", "down 1", "new 2", "new 3", "down 4"]
    job = client.batch_update(
        [{"memory_id": memory_id, "text": text} for memory_id, text in zip(ids, texts, strict=True)]
    )
    for _ in range(3):
        drain_all(services)
        let_time_pass(services)
    result = job.wait(1)
    assert result.status == "partially_succeeded"
    assert [bool(item.error) for item in result.results] == [False, True, False, False, True]
    dead = {"items": 5, "chunks": 3, "done": 5, "succeeded": 3, "failed": 2, "open": 0, "dead": 2}
    assert account_of(services, job) == dead
    assert {letter.job_id for letter in client.dead_letters()} == {f"{job.id}:0", f"{job.id}:2"}
    assert [ttl_of(services, record) > 0 for record in (job.id, f"{job.id}:0", f"{job.id}:1", f"{job.id}:2")] == [
        False,
        False,
        True,
        False,
    ]
    openai_server.faults.clear()
    openai_server.clear_requests()
    assert client.replay(job.id).id == job.id
    reopened = {"items": 5, "chunks": 3, "done": 2, "succeeded": 2, "failed": 0, "open": 2, "dead": 0}
    assert account_of(services, job) == reopened
    assert (job.status(), client.dead_letters()) == ("running", [])
    drain_all(services)
    assert inputs(openai_server) == ["down 1", "down 4"]
    result = job.wait(1)
    assert (result.status, result.error) == ("succeeded", None)
    assert [item.memory for item in result.results] == texts
    assert [len(client.history(memory_id)) for memory_id in ids] == [2] * 5
    assert account_of(services, job) == {**dead, "succeeded": 5, "failed": 0, "dead": 0}
    assert all(ttl_of(services, record) > 0 for record in (job.id, f"{job.id}:0", f"{job.id}:1", f"{job.id}:2"))
    with pytest.raises(JobError) as refused:
        client.replay(job.id)
    assert refused.value.error_code == "JOB_NOT_DEAD"


def all_dead(services, client, openai_server, **options):
    """A batch of two chunks, all of which is refused for good."""
    with_settings(services, client, chunk_items=1)
    ids = [added(services, client, f"fact {n}") for n in range(2)]
    openai_server.faults.add(Fault("bad_request", times=100, match="refused"))
    job = client.batch_update([{"memory_id": each, "text": "refused"} for each in ids], **options)
    drain_all(services)
    openai_server.faults.clear()
    return job, ids


def test_a_batch_of_which_nothing_succeeds_has_failed_and_is_discarded_whole(services, client, openai_server):
    job, _ = all_dead(services, client, openai_server)
    assert job.status() == "failed"
    assert len(client.dead_letters()) == 2
    client.discard(job.id)
    assert client.dead_letters() == []
    assert job.status() == "failed"
    for record in (f"{job.id}:0", f"{job.id}:1"):
        assert services.control.hget(services.keys.job(record), "payload") is None
        assert ttl_of(services, record) > 0
    assert ttl_of(services, job.id) > 0


def test_one_chunk_can_be_replayed_or_discarded_by_its_own_id(services, client, openai_server):
    job, ids = all_dead(services, client, openai_server)
    client.replay(f"{job.id}:1")
    drain_all(services)
    assert job.status() == "partially_succeeded"
    assert client.get(ids[1]).memory == "refused"
    assert ttl_of(services, job.id) == -1, "it must stay for the sake of its dead chunk"
    client.discard(f"{job.id}:0")
    assert ttl_of(services, job.id) > 0


def test_discarding_a_dead_chunk_does_not_let_an_unfinished_batch_expire(services, client, openai_server):
    with_settings(services, client, chunk_items=1)
    ids = [added(services, client, f"fact {n}") for n in range(2)]
    openai_server.faults.add(Fault("bad_request", times=1, match="refused"))
    services.data.set(services.keys.lock(ids[1]), "another worker", px=60_000)
    job = client.batch_update([{"memory_id": each, "text": "refused"} for each in ids])
    drain_all(services)
    client.discard(f"{job.id}:0")
    assert job.status() == "running"
    assert ttl_of(services, job.id) == -1
    services.data.delete(services.keys.lock(ids[1]))
    let_time_pass(services)
    drain_all(services)
    assert job.status() == "partially_succeeded"
    assert ttl_of(services, job.id) > 0


def test_a_weak_batch_with_dead_chunks_stays_until_they_are_replayed(services, client, openai_server):
    job, ids = all_dead(services, client, openai_server, consistency="weak")
    assert job.status() == "failed"
    client.replay(job.id)
    drain_all(services)
    assert {client.get(each).memory for each in ids} == {"refused"}
    assert list(services.control.scan_iter(f"{services.keys.job(job.id)}*")) == []


def test_a_chunk_that_kills_every_worker_is_dead_lettered_and_the_others_succeed(services, client, monkeypatch):
    with_settings(services, client, chunk_items=2)
    ids = [added(services, client, f"fact {n}") for n in range(4)]
    job = client.batch_update([{"memory_id": each, "text": "new"} for each in ids])
    real = BatchRunner._work

    def die_of_poison(self, works):
        if any(work.record_id == f"{job.id}:1" for work in works):
            raise Killed
        return real(self, works)

    with monkeypatch.context() as patch:
        patch.setattr(BatchRunner, "_work", die_of_poison)
        for _ in range(services.settings.poison_deliveries):
            with pytest.raises(Killed):
                drain_all(services)
            for raw in services.control.smembers(services.keys.shards):
                services.control.delete(services.keys.wakeup(raw.decode()))
        drain_all(services)
    result = job.wait(1)
    assert result.status == "partially_succeeded"
    assert [(item.error or {}).get("code") for item in result.results] == [None, None, "POISON", "POISON"]
    assert [letter.job_id for letter in client.dead_letters()] == [f"{job.id}:1"]
    client.replay(job.id)
    drain_all(services)
    assert job.wait(1).status == "succeeded"
    assert Sweeper(services).sweep() == set()
