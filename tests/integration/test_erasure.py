"""After a hard delete nothing of the memory's content is anywhere; what is left says only that there was one."""

from __future__ import annotations

import json

import pytest
from intake import Killed, added, drain, drain_all, kill_at, let_time_pass, shard_of_memory, with_settings

from emendo_client import MemoryClient
from emendo_client.errors import MemoryNotFoundError
from emendo_client.testing.faults import Fault
from emendo_workers import erasure
from emendo_workers.drain import Drain
from emendo_workers.expiry import expire_memories
from emendo_workers.sweeper import Sweeper

SECRET, PRIVATE, LABEL, OWNER = "unutterable-text", "unutterable-value", "unutterable-key", "unutterable-owner"


def everything(services) -> str:
    """Every key of the prefix and all it holds, as one text."""
    redis = services.control
    readers = {
        b"string": redis.get,
        b"hash": redis.hgetall,
        b"stream": redis.xrange,
        b"set": redis.smembers,
        b"zset": lambda key: redis.zrange(key, 0, -1, withscores=True),
        b"list": lambda key: redis.lrange(key, 0, -1),
    }
    keys = redis.scan_iter(f"{services.settings.key_prefix}*", count=1_000)
    return "\n".join(f"{key!r}: {readers[redis.type(key)](key)!r}" for key in keys)


def assert_nothing_is_left(services, *also: str) -> None:
    found = everything(services)
    assert not [word for word in (SECRET, PRIVATE, LABEL, *also) if word in found]


def secret_memory(services, client) -> str:
    """A memory with a history of every kind, all of it secret."""
    job = client.add(f"{SECRET} 1", user_id=OWNER, metadata={LABEL: PRIVATE}, infer=False)
    drain(services, job)
    memory_id = job.wait(1).results[0].memory_id
    client.update(memory_id, f"{SECRET} 2", {LABEL: f"{PRIVATE} 2", "k": PRIVATE}, actor_id="editor", role="user")
    client.delete(memory_id)
    client.restore(memory_id, version=1)
    client.update(memory_id, f"{SECRET} 3", {LABEL: f"{PRIVATE} 3"})
    client.update(memory_id, f"{SECRET} 4", {LABEL: "x"}, expected_version=1, on_conflict="manual")
    drain_all(services)
    assert client.conflicts()
    return memory_id


def erase(services, client, memory_id, **options):
    job = client.delete(memory_id, hard=True, actor_id="officer", **options)
    drain_all(services)
    return job.wait(1, raise_on_failure=True)


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
        expire_memories(services, 2_000_000_000.0)
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


def test_dead_letters_lose_the_erased_memory_and_keep_the_others(services, client, openai_server):
    ids = [added(services, client, f"fact {n}") for n in range(2)]
    openai_server.faults.add(Fault("bad_request", times=100, match="refuse"))
    single = client.update(ids[0], f"refuse {SECRET}", {LABEL: PRIVATE})
    batch = client.batch_update(
        [
            {"memory_id": ids[0], "text": f"refuse {SECRET}", "metadata": {LABEL: PRIVATE}},
            {"memory_id": ids[1], "text": "refuse only this"},
        ]
    )
    several = client.add(f"refuse {SECRET}", user_id="ana", infer=False)
    drain_all(services)
    assert len(client.dead_letters()) == 3
    erase(services, client, ids[0])
    openai_server.faults.clear()
    found = everything(services)
    assert "refuse only this" in found
    assert LABEL not in found
    client.replay(single.id)
    client.replay(batch.id)
    drain_all(services)
    assert single.wait(1).error["code"] == "MEMORY_ERASED"
    assert [(item.error or {}).get("code") for item in batch.wait(1).results] == ["MEMORY_ERASED", None]
    assert client.get(ids[1]).memory == "refuse only this"
    client.replay(several.id)
    drain_all(services)
    later = several.wait(1).results[0].memory_id
    erase(services, client, later)
    assert_nothing_is_left(services)


def test_an_added_memory_that_is_erased_leaves_its_jobs_dead_letter(services, client, openai_server):
    openai_server.faults.add(Fault("bad_request", times=100, match="refuse"))
    messages = [{"role": "user", "content": text, "name": OWNER} for text in (SECRET, "refuse this")]
    job = client.add(messages, user_id=OWNER, metadata={LABEL: PRIVATE}, infer=False)
    drain_all(services)
    assert job.wait(1).status == "partially_succeeded"
    erase(services, client, job.wait(1).results[0].memory_id)
    (letter,) = client.dead_letters()
    gone, kept = json.loads(services.control.hget(services.keys.job(letter.job_id), "payload"))["operations"]
    assert not {"text", "metadata", "user_id"} & gone.keys()
    assert (kept["text"], kept["user_id"]) == ("refuse this", OWNER)
    openai_server.faults.clear()
    client.replay(job.id)
    drain_all(services)
    assert [item.error for item in job.wait(1).results] == [None, None]


@pytest.mark.parametrize("after", [False, True], ids=["before the round trip", "after it"])
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
            kill_at(patch, step, after=after)
            try:
                drain(services, erase_job)
            except Killed:
                deaths += 1
            else:
                break
        services.control.delete(services.keys.bell(shard_of_memory(services, memory_id)))
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


def test_a_job_that_dies_while_its_memory_is_erased_leaves_no_content(services, client, openai_server, monkeypatch):
    """The update has failed and is about to become a dead letter when the erasure looks for dead letters."""
    memory_id = added(services, client, "harmless")
    openai_server.faults.add(Fault("bad_request", times=100, match="refuse"))
    batch = client.batch_update([{"memory_id": memory_id, "text": f"refuse {SECRET}"}])
    real, erasing = Drain._finish, []

    def erase_meanwhile(self, outcomes):
        if not erasing:
            erasing.append(client.delete(memory_id, hard=True))
            Drain(services, shard_of_memory(services, memory_id)).run()
        return real(self, outcomes)

    with monkeypatch.context() as patch:
        patch.setattr(Drain, "_finish", erase_meanwhile)
        drain_all(services)
    assert erasing[0].status() == "succeeded"
    assert batch.status() == "failed"
    assert_nothing_is_left(services)


def test_dead_letters_that_go_meanwhile_do_not_hide_another_from_the_erasure(
    services, client, monkeypatch, openai_server
):
    monkeypatch.setattr(erasure, "_PAGE", 1)
    memory_id, other = added(services, client, "harmless"), added(services, client, "other")
    openai_server.faults.add(Fault("bad_request", times=100, match="refuse"))
    letters = [client.update(each, f"refuse {SECRET}") for each in (other, other, memory_id)]
    drain_all(services)
    client.delete(memory_id, hard=True)
    real, waiting = erasure._without, letters[:2]

    def discard_meanwhile(payload, erased):
        while waiting:
            client.discard(waiting.pop().id)
        return real(payload, erased)

    monkeypatch.setattr(erasure, "_without", discard_meanwhile)
    drain_all(services)
    assert waiting == []
    assert_nothing_is_left(services)
