"""`strong`: done is said when the commit would survive what the settings name, and never before."""

from __future__ import annotations

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from emendo_client import Job
from emendo_client.errors import JobTimeoutError
from emendo_client.exchanges import accept
from emendo_client.testing.openai_server.faults import Fault
from emendo_config import ConfigurationError, Settings
from emendo_config.store import scripts
from emendo_workers.intake import dispatch
from emendo_workers.jobs.operations import Update
from emendo_workers.jobs.outcomes import ItemOutcome
from emendo_workers.memories import durability
from emendo_workers.memories.apply import apply_operations
from tests.support.failover import Replica
from tests.support.intake import added, drain, drain_all, let_time_pass, with_settings


@pytest.fixture
def sent(monkeypatch):
    """The confirmations that went to Redis, WAIT and WAITAOF with their arguments; `confirm` with its first key."""
    commands: list[tuple] = []
    real = durability.scripts.run

    def run(connection, batch, **more):
        for command in batch:
            ran = [each.name for each in (scripts.confirm, scripts.confirm_state) if each.runs_in(command)]
            commands.extend((name, command[3]) for name in ran)
            if command[0] in ("WAIT", "WAITAOF"):
                commands.append(tuple(command))
        return real(connection, batch, **more)

    monkeypatch.setattr(durability.scripts, "run", run)
    return commands


def unwaited(client, documents) -> Job:
    """Accepts a strong request as its call does, without waiting: nobody works here but the test."""
    request = client._requests.request(documents, consistency="strong")
    job_id, _ = client._run(accept.accept(client.settings, client._keys, request))
    return Job(client, job_id)


def strong(client, memory_id) -> Job:
    return unwaited(client, client._operations.update(memory_id, "new"))


def strong_erasure(client, memory_id) -> Job:
    return unwaited(client, client._operations.delete(memory_id, hard=True))


def test_a_strong_job_succeeds_after_the_append_only_file_has_it(services, client, sent):
    memory_id = added(services, client)
    with_settings(services, client, strong_fsync=True)
    job = strong(client, memory_id)
    drain_all(services)
    assert job.wait(1).status == "succeeded"
    assert [command[0] for command in sent] == ["confirm", "WAITAOF"]
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


def test_an_operation_that_changed_nothing_waits_too_for_what_it_rests_on(services, client, sent):
    ids = [added(services, client, f"fact {n}") for n in range(2)]
    client.delete(ids[0], hard=True)
    drain_all(services)
    with_settings(services, client, strong_fsync=True, inbox_shards=1)
    erasure = strong_erasure(client, ids[0])  # it is erased already
    job = strong(client, ids[1])
    drain_all(services)
    assert (erasure.wait(1).results[0].event, job.wait(1).status) == (None, "succeeded")
    assert sent[0] == ("confirm_state", services.keys.memory(ids[0]))
    assert sent[1] == ("confirm", services.keys.applied(ids[1], job.id))
    assert [command[0] for command in sent] == ["confirm_state", "confirm", "WAITAOF"]
    assert services.data.ttl(services.keys.confirmed(ids[0])) > 0, "the wait must follow a write"


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


def changing(services, client, kind):
    """A strong job of the kind, and the memory it changes."""
    memory_id = added(services, client)
    operations = client._operations
    if kind == "add":
        documents = operations.add("another fact", user_id="ana", infer=False)
        return unwaited(client, documents), documents[0]["memory_id"]
    if kind == "restore":
        drain(services, client.delete(memory_id))
    documents = {
        "update": lambda: operations.update(memory_id, "new"),
        "delete": lambda: operations.delete(memory_id),
        "erasure": lambda: operations.delete(memory_id, hard=True),
        "restore": lambda: operations.restore(memory_id),
    }[kind]()
    return unwaited(client, documents), memory_id


@pytest.fixture
def failing_over(services, monkeypatch):
    """Between the commit and its confirmation another server takes over, once, which never got the commit."""
    real, replicas = durability.wait_durable, []

    def fail_over(outcomes, store):
        while replicas:
            replicas.pop().take_over()
        return real(outcomes, store)

    monkeypatch.setattr(dispatch, "wait_durable", fail_over)
    return replicas


@pytest.mark.parametrize("kind", ["update", "delete", "erasure", "restore", "add"])
def test_a_change_that_a_failover_lost_is_made_again_before_it_is_called_done(services, client, failing_over, kind):
    with_settings(services, client, strong_fsync=True)
    job, memory_id = changing(services, client, kind)
    failing_over.append(Replica(services, memory_id))
    before = client.history(memory_id) if kind != "add" else []
    drain_all(services)
    info = job.info()
    assert (info.status, info.error["code"], info.results) == ("retrying", "NOT_CONFIRMED", [])
    assert "failover" in info.error["message"]
    let_time_pass(services)
    drain_all(services)
    result = job.wait(1)
    assert (result.status, result.results[0].version) == ("succeeded", len(before) + 1)
    assert [entry.job_id for entry in client.history(memory_id)][-1:] == [job.id]
    assert len(client.history(memory_id)) == len(before) + 1
    changes = [raw for _, raw in services.control.xrange(services.keys.feed) if raw[b"job_id"] == job.id.encode()]
    assert len(changes) == 1, "followers hear of it once"


def test_of_a_batch_only_the_items_that_were_lost_are_made_again(services, client, failing_over):
    ids = [added(services, client, f"fact {n}") for n in range(3)]
    with_settings(services, client, strong_fsync=True, task_time_limit=0.001)
    failing_over.append(Replica(services, ids[1]))
    with pytest.raises(JobTimeoutError):
        client.batch_update([{"memory_id": each, "text": "new"} for each in ids], consistency="strong")
    drain_all(services)
    let_time_pass(services)
    drain_all(services)
    (info,) = client.jobs(limit=1)
    assert info.status == "succeeded"
    assert [(client.get(each).memory, client.get(each).version) for each in ids] == [("new", 2)] * 3


def test_a_lost_change_whose_version_is_now_another_jobs_is_not_confirmed(services, client, failing_over, monkeypatch):
    with_settings(services, client, strong_fsync=True)
    job, memory_id = changing(services, client, "update")
    failing_over.append(Replica(services, memory_id))
    real = Replica.take_over

    def take_over(replica):
        real(replica)
        other = Update("other", "default", 1, memory_id, metadata={"other": 1})
        (outcome,) = apply_operations([other], services)
        assert outcome.result["version"] == 2

    monkeypatch.setattr(Replica, "take_over", take_over)
    drain_all(services)
    assert job.status() == "retrying"
    let_time_pass(services)
    drain_all(services)
    assert job.wait(1).results[0].version == 3
    assert [entry.job_id for entry in client.history(memory_id)][1:] == ["other", job.id]


def test_an_eventual_neighbour_of_a_lost_change_is_done(services, client, failing_over):
    ids = [added(services, client, f"fact {n}") for n in range(2)]
    with_settings(services, client, strong_fsync=True, inbox_shards=1)
    failing_over.append(Replica(services, ids[0]))
    lost, eventual = strong(client, ids[0]), client.update(ids[1], "new")
    drain_all(services)
    assert (lost.status(), eventual.status()) == ("retrying", "succeeded")


def test_a_state_that_a_failover_lost_is_no_reason_to_do_nothing(services, client, failing_over):
    """The memory was erased already, and that erasure is lost: the second one must not say that it is done."""
    memory_id = added(services, client)
    replica = Replica(services, memory_id)
    drain(services, client.delete(memory_id, hard=True))
    with_settings(services, client, strong_fsync=True)
    failing_over.append(replica)
    job = strong_erasure(client, memory_id)
    drain_all(services)
    assert job.info().error["code"] == "NOT_CONFIRMED"
    let_time_pass(services)
    drain_all(services)
    result = job.wait(1)
    assert (result.status, result.results[0].event) == ("succeeded", "DELETE")
    assert services.data.hget(services.keys.memory(memory_id), "erased") == b"1"


@pytest.mark.parametrize("first", [True, False], ids=["the erasure", "a second erasure"])
def test_an_erasure_whose_content_a_failover_brought_back_is_not_done(services, client, monkeypatch, first):
    """The replica got the commit, and not the steps after it that remove the content of the history."""
    memory_id = added(services, client)
    with_settings(services, client, strong_fsync=True)
    real, replicas = dispatch.finish_erasures, []

    def finish_erasures(outcomes, services):
        replica = Replica(services, memory_id)
        done = real(outcomes, services)
        if not replicas:
            replicas.append(replica)
            replica.take_over()
        return done

    job = strong_erasure(client, memory_id)
    if not first:
        drain_all(services)
        services.data.rename(services.keys.history(memory_id), services.keys.erased_history(memory_id))
        job = strong_erasure(client, memory_id)
    monkeypatch.setattr(dispatch, "finish_erasures", finish_erasures)
    drain_all(services)
    assert (job.status(), job.info().error["code"]) == ("retrying", "NOT_CONFIRMED")
    let_time_pass(services)
    drain_all(services)
    assert job.wait(1).status == "succeeded"
    assert services.data.exists(services.keys.erased_history(memory_id)) == 0
    assert services.data.hget(services.keys.memory(memory_id), "erased_user") is None


def test_a_state_is_told_apart_from_another_one_of_its_version(services, client):
    memory_id = added(services, client)
    keys = services.keys
    made_by = services.data.hget(keys.memory(memory_id), "commit_id").decode()

    def confirmed(version, commit_id):
        command = scripts.confirm_state(
            memory=keys.memory(memory_id),
            history=keys.history(memory_id),
            confirmed=keys.confirmed(memory_id),
            version=str(version),
            commit_id=commit_id,
            entry_id=f"{version}-0",
            ttl=60,
        )
        return scripts.confirm_state.reply(scripts.run(services.data, [command])[0])

    assert (confirmed(1, made_by), confirmed(1, "another"), confirmed(2, made_by)) == (True, False, False)
    drain(services, client.update(memory_id, "later"))
    assert (confirmed(1, made_by), confirmed(1, "another")) == (True, False), "later changes rest on it"


@pytest.mark.parametrize("is_there", [True, False])
def test_an_effect_that_the_history_tells_of_gets_its_applied_key_again(services, client, is_there):
    with_settings(services, client, strong_fsync=True)
    job, memory_id = changing(services, client, "update")
    drain_all(services)
    applied = services.keys.applied(memory_id, job.id)
    value = services.data.get(applied)
    services.data.delete(applied)
    if not is_there:
        services.data.xdel(services.keys.history(memory_id), "2-0")
    operation = Update(job.id, "default", 1, memory_id, strong=True)
    result = {"memory_id": memory_id, "event": "UPDATE", "version": 2, "error": None}
    (outcome,) = durability.wait_durable([ItemOutcome(operation, result=result)], services.store)
    if is_there:
        assert (outcome.result, outcome.error, services.data.get(applied)) == (result, None, value)
        assert services.data.ttl(applied) > services.settings.job_ttl - 60
    else:
        assert (outcome.result, outcome.error.error_code) == (None, "NOT_CONFIRMED")
        assert services.data.get(applied) is None


@pytest.mark.parametrize(
    "refusal",
    [
        "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
        "WAIT cannot be used with replica instances.",
    ],
)
def test_a_server_that_became_a_replica_confirms_nothing(services, client, monkeypatch, refusal):
    with_settings(services, client, strong_fsync=True)
    job, _ = changing(services, client, "update")
    real = durability.scripts.run

    def run(connection, batch, **more):
        if any(command[0] == "WAITAOF" for command in batch):
            raise ResponseError(refusal)
        return real(connection, batch, **more)

    with monkeypatch.context() as patch:
        patch.setattr(durability.scripts, "run", run)
        drain_all(services)
    assert (job.status(), job.info().error["code"]) == ("retrying", "NOT_CONFIRMED")
    let_time_pass(services)
    drain_all(services)
    assert job.wait(1).results[0].version == 2


def test_an_outage_while_it_waits_costs_no_attempt_and_delays_no_neighbour(services, client, monkeypatch):
    ids = [added(services, client, f"fact {n}") for n in range(2)]
    with_settings(services, client, strong_fsync=True, inbox_shards=1)
    job, eventual = strong(client, ids[0]), client.update(ids[1], "new")
    real = durability.scripts.run

    def run(connection, batch, **more):
        if any(command[0] == "WAITAOF" for command in batch):
            raise RedisConnectionError("gone")
        return real(connection, batch, **more)

    with monkeypatch.context() as patch:
        patch.setattr(durability.scripts, "run", run)
        drain_all(services)
    info = job.info()
    assert (info.status, info.error["code"], info.attempts) == ("retrying", "STORE_AWAY", 0)
    assert eventual.status() == "succeeded"
    let_time_pass(services)
    drain_all(services)
    assert job.wait(1).results[0].version == 2


def test_a_wait_longer_than_a_redis_call_may_take_is_refused():
    with pytest.raises(ConfigurationError, match="EMENDO_STRONG_TIMEOUT"):
        Settings(strong_timeout=10, redis_timeout=5, strong_replicas=1)
