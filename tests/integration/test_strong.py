"""`strong`: done is said when the commit would survive what the settings name, and never before."""

from __future__ import annotations

import pytest
from intake import added, drain_all, let_time_pass, with_settings

from emendo_client import Job, writes
from emendo_client.errors import JobTimeoutError
from emendo_client.testing.faults import Fault
from emendo_config import ConfigurationError, Settings


@pytest.fixture
def sent(services, monkeypatch):
    """The names of the commands that went to Redis in pipelines, WAIT and WAITAOF with their arguments."""
    commands: list[tuple] = []
    real = services.data.pipeline

    def pipeline(*args, **options):
        made = real(*args, **options)
        execute = made.execute_command

        def record(*command, **more):
            if command[0] in ("WAIT", "WAITAOF", "EXPIRE"):
                commands.append(command)
            return execute(*command, **more)

        made.execute_command = record
        return made

    monkeypatch.setattr(services.data, "pipeline", pipeline)
    return commands


def unwaited(client, request) -> Job:
    """Accepts a request as its call does, without waiting: nobody works here but the test."""
    job_id, _ = client._run(writes.accept(client.settings, client._keys, request))
    return Job(client, job_id)


def strong(client, memory_id) -> Job:
    request = client._build.update(memory_id, text="new", consistency="strong", idempotency_key=None)
    return unwaited(client, request)


def strong_erasure(client, memory_id) -> Job:
    return unwaited(client, client._build.delete(memory_id, hard=True, consistency="strong", idempotency_key=None))


def test_a_strong_job_succeeds_after_the_append_only_file_has_it(services, client, sent):
    memory_id = added(services, client)
    with_settings(services, client, strong_fsync=True)
    job = strong(client, memory_id)
    drain_all(services)
    assert job.wait(1).status == "succeeded"
    assert [command[0] for command in sent] == ["EXPIRE", "WAITAOF"]
    assert sent[1] == ("WAITAOF", 1, 0, 3_000)


def test_only_strong_jobs_wait(services, client, sent):
    memory_id = added(services, client)
    with_settings(services, client, strong_fsync=True)
    client.update(memory_id, "eventual")
    drain_all(services)
    assert sent == []


def test_strong_without_settings_waits_for_the_commit_alone(services, client, sent):
    memory_id = added(services, client)
    job = strong(client, memory_id)
    drain_all(services)
    assert job.wait(1).status == "succeeded"
    assert sent == []


def test_what_is_not_confirmed_is_tried_again_and_committed_once(services, client):
    memory_id = added(services, client)
    with_settings(services, client, strong_replicas=1, strong_timeout=0.01, max_attempts=2)
    job = strong(client, memory_id)
    drain_all(services)
    info = job.info()
    assert (info.status, info.error["code"]) == ("retrying", "NOT_CONFIRMED")
    assert client.get(memory_id).memory == "new"
    let_time_pass(services)
    drain_all(services)
    result = job.wait(1)
    assert (result.status, result.error["code"]) == ("failed", "NOT_CONFIRMED")
    assert "committed" in result.error["message"]
    assert [entry.version for entry in client.history(memory_id)] == [1, 2]
    changes = [raw for _, raw in services.control.xrange(services.keys.feed) if raw[b"job_id"] == job.id.encode()]
    assert len(changes) == 1, "followers must hear of it, once"
    with_settings(services, client, strong_replicas=0)
    client.replay(job.id)
    drain_all(services)
    assert job.wait(1).status == "succeeded"
    assert [entry.version for entry in client.history(memory_id)] == [1, 2]


def test_eventual_neighbours_do_not_wait_for_the_confirmation(services, client):
    ids = [added(services, client, f"fact {n}") for n in range(2)]
    with_settings(services, client, strong_replicas=1, strong_timeout=0.01, inbox_shards=1)
    unconfirmed = strong(client, ids[0])
    eventual = client.update(ids[1], "new")
    drain_all(services)
    assert (unconfirmed.status(), eventual.status()) == ("retrying", "succeeded")


def test_a_strong_batch_is_confirmed_chunk_by_chunk(services, client, sent):
    ids = [added(services, client, f"fact {n}") for n in range(3)]
    with_settings(services, client, strong_fsync=True, chunk_items=2, task_time_limit=0.001)
    with pytest.raises(JobTimeoutError):
        client.batch_update([{"memory_id": each, "text": "new"} for each in ids], consistency="strong")
    drain_all(services)
    assert client.jobs(limit=1)[0].status == "succeeded"
    assert [command[0] for command in sent].count("WAITAOF") == 2, "one for each chunk"


def test_a_neighbour_that_changed_nothing_does_not_spare_the_wait(services, client, sent):
    """The wait must follow a write: what changed nothing has no mark to renew."""
    ids = [added(services, client, f"fact {n}") for n in range(2)]
    client.delete(ids[0], hard=True)
    drain_all(services)
    with_settings(services, client, strong_fsync=True, inbox_shards=1)
    strong_erasure(client, ids[0])  # it is erased already
    job = strong(client, ids[1])
    drain_all(services)
    assert job.wait(1).status == "succeeded"
    assert sent[0][:2] == ("EXPIRE", services.keys.applied(ids[1], job.id))
    assert [command[0] for command in sent] == ["EXPIRE", "WAITAOF"]


def test_a_redis_that_keeps_no_append_only_file_is_a_wrong_configuration(services, client):
    memory_id = added(services, client)
    with_settings(services, client, strong_fsync=True)
    job = strong(client, memory_id)
    services.data.config_set("appendonly", "no")
    try:
        drain_all(services)
    finally:
        services.data.config_set("appendonly", "yes")
    result = job.wait(1)
    assert (result.status, result.error["type"]) == ("failed", "ConfigurationError")
    assert "committed" in result.error["message"]
    assert "EMENDO_STRONG_FSYNC" in result.error["suggestion"]
    assert client.get(memory_id).memory == "new"


def test_a_strong_erasure_scrubs_dead_letters_even_when_it_is_not_confirmed(services, client, openai_server):
    memory_id = added(services, client)
    openai_server.faults.add(Fault("bad_request", times=9, match="refuse"))
    letter = client.update(memory_id, "refuse this secret")
    drain_all(services)
    with_settings(services, client, strong_replicas=1, strong_timeout=0.01, max_attempts=1)
    strong_erasure(client, memory_id)
    drain_all(services)
    assert "secret" not in services.control.hget(services.keys.job(letter.id), "payload").decode()


def test_a_wait_longer_than_a_redis_call_may_take_is_refused():
    with pytest.raises(ConfigurationError, match="EMENDO_STRONG_TIMEOUT"):
        Settings(strong_timeout=10, redis_timeout=5, strong_replicas=1)
