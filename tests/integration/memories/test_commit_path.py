"""The one commit path: locks save work, the version check and the applied keys keep it right."""

from __future__ import annotations

import json
import re
import threading
import time

import pytest

from emendo_client.errors import EmbeddingError, EmendoError, NetworkError
from emendo_client.testing.openai_server.faults import Fault
from emendo_client.testing.openai_server.vectors import embed
from emendo_config.store import scripts
from emendo_config.store.formats import version_entry_id
from emendo_workers.intake.sweeper import Sweeper
from emendo_workers.jobs.operations import Update
from emendo_workers.memories import apply
from emendo_workers.memories.commit import MAX_REMOVED_KEYS
from tests.support.failover import Replica
from tests.support.intake import added, bring_back, drain, drain_all, finish, put_aside, shard_of_job


def vector_of(services, memory_id):
    return services.data.hget(services.keys.memory(memory_id), services.settings.space.field)


def expected(services, text):
    settings = services.settings
    return embed(text, model=settings.embedding_model, dimensions=settings.embedding_dimensions)


def commit_id_of(services, memory_id):
    return (services.data.hget(services.keys.memory(memory_id), "commit_id") or b"").decode()


def commit(services, memory_id, *, based_on, job_id, text, spaces=None, based_on_commit=None):
    keys = services.keys
    made_by = commit_id_of(services, memory_id) if based_on_commit is None else based_on_commit
    return scripts.run(
        services.data,
        [
            scripts.commit(
                memory=keys.memory(memory_id),
                history=keys.history(memory_id),
                erased_history=keys.erased_history(memory_id),
                kept_entries=0,
                lock=keys.lock(memory_id),
                conflicts=keys.conflict(memory_id),
                based_on=based_on,
                based_on_commit=made_by,
                spaces=services.settings.space.name if spaces is None else spaces,
                token="token",
                ttl=60,
                erase=False,
                fields=["memory", text, "version", based_on + 1],
                removed=[],
                disputed=[],
                resolved=[],
                changes=[
                    scripts.CommittedChange(
                        keys.applied(memory_id, job_id),
                        f"UPDATE:{based_on + 1}",
                        f"{based_on + 1}-0",
                        ["version", based_on + 1, "event", "UPDATE"],
                    )
                ],
            )
        ],
    )[0]


def test_a_commit_based_on_another_version_changes_nothing(services, client):
    memory_id = added(services, client)
    assert commit(services, memory_id, based_on=7, job_id="x", text="wrong") == b"stale"
    assert client.get(memory_id).memory == "I dislike seafood."
    assert len(client.history(memory_id)) == 1
    assert services.data.exists(services.keys.applied(memory_id, "x")) == 0


@pytest.mark.parametrize("another", ["another", ""])
def test_a_commit_based_on_the_same_version_of_another_commit_changes_nothing(services, client, another):
    memory_id = added(services, client)
    assert commit(services, memory_id, based_on=1, based_on_commit=another, job_id="x", text="wrong") == b"stale"
    assert client.get(memory_id).memory == "I dislike seafood."


def test_each_commit_has_an_id_of_its_own_which_its_history_entries_name(services, client):
    memory_id = added(services, client)
    first = commit_id_of(services, memory_id)
    jobs = [client.update(memory_id, text) for text in ("one", "two")]
    drain(services, jobs[0])
    second = commit_id_of(services, memory_id)
    assert first != second
    assert all(re.fullmatch(r"[\w-]{8}", each) for each in (first, second))
    entries = services.data.xrange(services.keys.history(memory_id))
    assert [raw[b"commit_id"].decode() for _, raw in entries] == [first, second, second]
    drain(services, client.delete(memory_id, hard=True))
    assert commit_id_of(services, memory_id) == "", "a tombstone needs none"


def test_a_memory_of_an_older_release_is_changed_and_has_a_commit_id_from_then_on(services, client):
    memory_id = added(services, client)
    services.data.hdel(services.keys.memory(memory_id), "commit_id")
    job = client.update(memory_id, "new")
    drain(services, job)
    assert job.wait(1).results[0].version == 2
    assert commit_id_of(services, memory_id)
    assert client.diagnose(memory_id).ok


def test_a_change_decided_before_a_failover_is_decided_again_on_the_state_that_survived(services, client, monkeypatch):
    """One version number names two states: what was read before the failover, and what another worker made since."""
    memory_id = added(services, client)
    replica = Replica(services, memory_id)
    drain(services, client.update(memory_id, "lost", {"lost": 1}))
    job = client.update(memory_id, metadata={"mine": 1})
    real, failed_over = apply._Rounds._drop_cancelled, []

    def fail_over(self, memories):
        if not failed_over:
            failed_over.append(memory_id)
            replica.take_over()
            services.data.delete(services.keys.lock(memory_id))
            now = time.time_ns() // 1_000
            other = Update("other", "default", now, memory_id, text="survived", metadata={"other": 1})
            (outcome,) = apply.apply_operations([other], services)
            assert outcome.result["version"] == 2
        real(self, memories)

    monkeypatch.setattr(apply._Rounds, "_drop_cancelled", fail_over)
    drain(services, job)
    assert job.wait(1).results[0].version == 3
    found = client.get(memory_id)
    assert (found.memory, found.metadata) == ("survived", {"other": 1, "mine": 1})
    assert [entry.new_memory for entry in client.history(memory_id)] == ["I dislike seafood.", "survived", "survived"]
    assert client.diagnose(memory_id).ok


def test_a_commit_that_does_not_know_of_a_space_changes_nothing(services, client):
    memory_id = added(services, client)
    assert commit(services, memory_id, based_on=1, job_id="x", text="wrong", spaces="another") == b"stale"
    assert client.get(memory_id).memory == "I dislike seafood."


def test_a_late_update_of_a_deleted_memory_shows_no_text(services, client):
    memory_id = added(services, client)
    late = client.update(memory_id, "hidden")
    put_aside(services, memory_id, late)
    drain(services, client.delete(memory_id))
    bring_back(services, late)
    (item,) = late.wait(1).results
    assert (item.event, item.memory) == ("UPDATE", None)
    assert client.history(memory_id)[-1].new_memory == "hidden", "a restore would bring it back"


def test_a_job_that_was_applied_is_not_applied_again(services, client):
    memory_id = added(services, client)
    assert commit(services, memory_id, based_on=1, job_id="x", text="once") == b"committed"
    assert commit(services, memory_id, based_on=2, job_id="x", text="twice") == b"stale"
    assert client.get(memory_id).memory == "once"
    assert services.data.xlen(services.keys.history(memory_id)) == 2


def test_a_memory_somebody_else_holds_is_put_aside_and_costs_no_attempt(services, client):
    held, free = added(services, client, "held"), added(services, client, "free")
    services.data.set(services.keys.lock(held), "somebody else", px=60_000)
    job, other = client.update(held, "waits"), client.update(free, "goes on")
    drain(services, job)
    drain(services, other)
    assert (job.info().status, job.info().attempts) == ("retrying", 0)
    assert other.status() == "succeeded"
    assert services.data.get(services.keys.lock(held)) == b"somebody else", "another's lock must not be released"
    services.data.delete(services.keys.lock(held))
    services.control.zadd(services.keys.delayed, {f"{shard_of_job(services, job)}:{job.id}": 0})
    Sweeper(services).sweep()
    drain(services, job)
    assert job.wait(1).attempts == 1


def test_a_stolen_lock_costs_a_round_and_never_a_change(services, client, monkeypatch):
    """While one worker embeds, another one takes the lock away and commits: both changes are kept."""
    memory_id = added(services, client)
    job = client.update(memory_id, "mine", metadata={"mine": 1})
    real = services.embedding.embed
    thefts = []

    def steal_and_commit(texts, meter=None):
        if not thefts:
            thefts.append(memory_id)
            services.data.set(services.keys.lock(memory_id), "thief", px=60_000)
            assert commit(services, memory_id, based_on=1, job_id="thief", text="theirs") == b"committed"
            services.data.delete(services.keys.lock(memory_id))
        return real(texts)

    monkeypatch.setattr(services.embedding, "embed", steal_and_commit)
    drain(services, job)
    assert thefts
    assert job.status() == "succeeded"
    assert client.get(memory_id).version == 3
    assert services.data.xlen(services.keys.history(memory_id)) == 3
    assert vector_of(services, memory_id) == expected(services, client.get(memory_id).memory)


def test_locks_are_gone_when_the_drain_is(services, client):
    memory_id = added(services, client)
    for job in (client.update(memory_id, "x"), client.update(memory_id, "y", expected_version=99)):
        drain(services, job)
    assert services.data.exists(services.keys.lock(memory_id)) == 0


def test_many_updates_of_one_memory_in_one_batch_embed_only_the_last_text(services, client, openai_server):
    memory_id = added(services, client)
    openai_server.clear_requests()
    jobs = [client.update(memory_id, f"text {number}") for number in range(50)]
    drain(services, jobs[0])
    assert [request.inputs for request in openai_server.requests] == [["text 49"]]
    assert [entry.new_memory for entry in client.history(memory_id)][1:] == [f"text {n}" for n in range(50)]
    assert vector_of(services, memory_id) == expected(services, "text 49")


def test_one_text_the_provider_refuses_fails_alone(services, client, openai_server):
    openai_server.faults.add(Fault("bad_request", times=20, match="unbearable"))
    good = [client.add(f"fact {number}", user_id="ana", infer=False) for number in range(8)]
    bad = client.add(
        [{"role": "user", "content": "fine"}, {"role": "user", "content": "unbearable"}], "ana", infer=False
    )
    for job in (*good, bad):
        drain(services, job)
    assert {job.status() for job in good} == {"succeeded"}
    result = bad.wait(1)
    assert result.status == "partially_succeeded"
    assert [item.error and item.error["type"] for item in result.results] == [None, "EmbeddingError"]


def test_an_update_the_provider_refuses_leaves_its_neighbours_on_the_same_memory(services, client, openai_server):
    memory_id = added(services, client)
    openai_server.faults.add(Fault("bad_request", times=20, match="unbearable"))
    first = client.update(memory_id, "fine", {"a": 1})
    second = client.update(memory_id, "unbearable")
    third = client.update(memory_id, metadata={"b": 2})
    drain(services, first)
    assert [job.status() for job in (first, second, third)] == ["succeeded", "failed", "succeeded"]
    memory = client.get(memory_id)
    assert (memory.memory, memory.metadata, memory.version) == ("fine", {"a": 1, "b": 2}, 3)
    assert vector_of(services, memory_id) == expected(services, "fine")


def test_short_provider_faults_are_ridden_out_inside_the_attempt(services, client, openai_server):
    openai_server.faults.add(Fault("reset"), Fault("rate_limit_ms", retry_after=0.01))
    job = client.add("hello", user_id="ana", infer=False)
    drain(services, job)
    assert (job.info().status, job.info().attempts) == ("succeeded", 1)
    assert [request.fault for request in openai_server.requests] == ["reset", "rate_limit_ms", None]


def test_a_long_pause_the_provider_asks_for_is_not_slept_in_the_worker(services, client, openai_server):
    openai_server.faults.add(Fault("rate_limit", retry_after=30))
    job = client.add("hello", user_id="ana", infer=False)
    drain(services, job)
    info = job.info()
    assert (info.status, len(openai_server.requests)) == ("retrying", 1)
    assert 29 <= (info.next_attempt_at - info.started_at).total_seconds() <= 40


@pytest.mark.parametrize("count", [1, 2_048, 2_049])
def test_requests_keep_the_providers_limits(services, openai_server, count):
    found = services.embedding.embed([f"{number}" for number in range(count)])
    assert len(found) == count
    assert all(isinstance(vector, bytes) for vector in found.values())
    lengths = sorted(len(request.inputs) for request in openai_server.requests)
    assert lengths == ([1, 2_048] if count > 2_048 else [count])


def test_a_text_is_embedded_once_however_often_it_is_asked_for(services, openai_server):
    assert len(services.embedding.embed(["a", "b", "a", "a"])) == 2
    assert [request.inputs for request in openai_server.requests] == [["a", "b"]]


def test_errors_come_back_for_each_text_when_the_provider_is_away(services, openai_server):
    openai_server.faults.add(Fault("unavailable", times=100))
    found = services.embedding.embed(["a", "b"])
    assert {type(error) for error in found.values()} == {NetworkError}
    openai_server.faults.clear()
    openai_server.faults.add(Fault("bad_request", rate=1.0, match="x"))  # and harmless texts are taken
    assert {type(error) for error in services.embedding.embed(["ax", "bx"]).values()} == {EmbeddingError}
    openai_server.faults.clear()
    openai_server.faults.add(Fault("bad_request", rate=1.0))
    assert {error.error_code for error in services.embedding.embed(["a", "b"]).values()} == {"PROVIDER_REFUSES"}


def test_a_defect_in_one_job_holds_nobody_back(services, client, monkeypatch):
    memory_id = added(services, client)
    broken, fine = client.update(memory_id, "broken"), client.update(memory_id, metadata={"fine": True})
    from emendo_workers.intake import dispatch as module

    real = module.apply_operations

    def stumble(operations, given, **more):
        if any(operation.job_id == broken.id for operation in operations):
            raise ZeroDivisionError("a defect of ours, with private text")
        return real(operations, given, **more)

    monkeypatch.setattr(module, "apply_operations", stumble)
    drain(services, broken)
    assert fine.status() == "succeeded"
    info = broken.info()
    assert (info.status, info.error["code"]) == ("retrying", "UNEXPECTED")
    assert "private text" not in str(info.error)


def test_the_lease_renewer_renews_leases_and_notices_a_lost_one(services, client):
    memory_id = added(services, client)
    lock, wakeup = services.keys.lock(memory_id), services.keys.wakeup(0)
    services.data.set(lock, "mine", px=100_000)
    services.control.set(wakeup, "drain:mine:1", px=100_000)
    services.leases.add(wakeup, "drain:mine:1")
    with services.leases.renewing([lock], "mine"):
        services.leases.renew()
        assert services.data.pttl(lock) <= services.lease_ms
        assert not services.leases.is_lost("drain:mine:1")
        services.control.set(wakeup, "drain:other:1", px=100_000)
        services.leases.renew()
        assert services.leases.is_lost("drain:mine:1")
        assert services.control.pttl(wakeup) > services.lease_ms, "another's lease is not ours to prolong"
        services.leases.remove(wakeup, "drain:other:2")
        assert services.leases._claims == {wakeup: "drain:mine:1"}, "that was somebody else's"
        services.leases.remove(wakeup, "drain:mine:1")
        assert services.leases._claims == {}
        assert not services.leases.is_lost("drain:mine:1")
    assert services.control.zscore(services.keys.workers, services.worker) > 0
    services.data.delete(lock)


def test_concurrent_patches_of_one_memory_all_survive(services, client):
    """The field's best-known system loses 6 of 16 such updates and reports success for all."""
    memory_id = added(services, client)
    jobs = []
    threads = [
        threading.Thread(target=lambda number=number: jobs.append(client.update(memory_id, metadata={f"k{number}": 1})))
        for number in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    drain(services, jobs[0])
    assert {job.status() for job in jobs} == {"succeeded"}
    assert client.get(memory_id).metadata == {f"k{number}": 1 for number in range(16)}
    assert [entry.version for entry in client.history(memory_id)] == list(range(1, 18))


def test_scripts_are_loaded_again_after_a_restart_forgot_them(services, client):
    memory_id = added(services, client)
    services.data.script_flush()
    job = client.update(memory_id, "after the flush")
    services.data.script_flush()
    drain(services, job)
    assert job.status() == "succeeded"


def test_unexpected_answers_of_redis_are_our_errors(emendo_settings):
    from emendo_client import MemoryClient

    with MemoryClient(emendo_settings) as client, pytest.raises(EmendoError) as failure:
        client.get_all(user_id="ana")
    assert failure.value.error_code == "NO_INDEX"
    assert "emendo worker" in failure.value.suggestion


def test_who_loses_a_version_to_an_update_that_fails_itself_wins_it(services, client, openai_server):
    memory_id = added(services, client)
    openai_server.faults.add(Fault("bad_request", rate=1.0, match="refused"))
    refused = client.update(memory_id, "refused by the provider", expected_version=1)
    rival = client.update(memory_id, "taken", expected_version=1)
    drain(services, rival)
    assert (refused.status(), rival.status()) == ("failed", "succeeded")
    assert client.get(memory_id).memory == "taken"


def test_that_a_job_is_tried_again_is_the_latest_attempts_to_say_and_once(services, client):
    """A reader that lost its shard must not put a job aside that another one is working."""
    memory_id = added(services, client)
    job = client.update(memory_id, "new")
    keys, shard = services.keys, shard_of_job(services, job)
    record = keys.job(job.id)

    def say(attempt: str, status: str = "retrying") -> int:
        outcome = {"job": job.id, "entry": "9-9", "attempt": attempt, "status": status, "due": 0, "refund": True}
        outcome["settled"] = json.dumps([{"memory_id": memory_id, "version": 2, "error": None}])
        outcome |= {"feed": [[memory_id, "UPDATE", "2"]], "project": "default", "of": job.id}
        return finish(services, shard, outcome).recorded

    told = services.control.xlen(keys.feed)
    for attempt in ("first", "second"):
        records = [scripts.Attempt(record, record)]
        scripts.run(services.control, [scripts.start(token=attempt, worker=services.worker, records=records)])
    assert [say("first"), say("second"), say("second")] == [0, 1, 0]
    assert services.control.hget(record, "attempts") == b"1"
    assert say("first", "succeeded") == 1, "what is done is done, whoever did it"
    assert services.control.xlen(keys.feed) == told + 1, "the feed tells of each change once"
    drain(services, job)


@pytest.mark.parametrize("damage", ["history", "conflict"])
def test_a_refused_commit_leaves_nothing_half_done(services, client, damage):
    memory_id = added(services, client)
    if damage == "history":  # as if a version were written that the memory does not have yet
        services.data.xadd(services.keys.history(memory_id), {"version": "9"}, id=version_entry_id(9))
    else:
        services.data.set(services.keys.conflict(memory_id), "no hash")
    before = services.data.dump(services.keys.memory(memory_id)), services.data.xlen(services.keys.history(memory_id))
    job = client.update(memory_id, "I like seafood.")
    drain_all(services)
    assert job.info().status == "retrying"
    after = services.data.dump(services.keys.memory(memory_id)), services.data.xlen(services.keys.history(memory_id))
    assert after == before
    assert not services.data.exists(services.keys.applied(memory_id, job.id))


def test_the_write_times_of_removed_keys_are_bounded(services, client):
    memory_id = added(services, client, metadata={"stays": 1})
    for first in range(0, 3 * MAX_REMOVED_KEYS, 100):
        keys = [f"key-{number}" for number in range(first, first + 100)]
        drain(services, client.update(memory_id, metadata=dict.fromkeys(keys, 1)))
        drain(services, client.update(memory_id, metadata=dict.fromkeys(keys)))
    raw = services.data.hget(services.keys.memory(memory_id), "stamps")
    remembered = json.loads(raw)[3]
    assert len(remembered) == MAX_REMOVED_KEYS
    assert {keys[0], keys[-1]} <= remembered.keys()
    assert client.get(memory_id).metadata == {"stays": 1}
