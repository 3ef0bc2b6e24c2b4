"""Each transition of the grouped intake: accept, ring, claim, take over, close, requeue."""

from __future__ import annotations

import threading

import pytest

from emendo_client.errors import JobTimeoutError, VectorStoreError
from emendo_client.exchanges import jobs
from emendo_client.testing.openai_server.faults import Fault
from emendo_config.store import scripts
from emendo_config.store.scripts import execution
from emendo_workers.intake import dispatch, inbox
from emendo_workers.intake.attempt import BatchRunner
from emendo_workers.intake.drain import Drain
from emendo_workers.intake.shard_claims import ShardClaims
from emendo_workers.intake.sweeper import Sweeper
from emendo_workers.jobs.outcomes import ItemOutcome
from emendo_workers.memories import apply
from emendo_workers.runtime.shard_merging import ShardClaim
from tests.support.deaths import DEATHS, Killed, die_at
from tests.support.intake import (
    added,
    drain,
    finish,
    let_time_pass,
    messages_waiting,
    reconfigure,
    shard_of_job,
    shard_of_memory,
    wakeup_of,
    with_settings,
)
from tests.support.patience import until


def test_the_first_job_sends_a_wakeup_and_the_next_ones_do_not(services, client):
    memory_id = added(services, client)
    before = messages_waiting(services)
    jobs = [client.update(memory_id, f"text {n}") for n in range(5)]
    assert messages_waiting(services) == before + 1
    assert wakeup_of(services, shard_of_job(services, jobs[0])).startswith("rung:")


def test_a_drain_empties_the_inbox_and_removes_the_wakeup(services, client):
    memory_id = added(services, client)
    jobs = [client.update(memory_id, f"text {n}") for n in range(5)]
    assert drain(services, jobs[0]) == 5
    assert [job.status() for job in jobs] == ["succeeded"] * 5
    shard = shard_of_job(services, jobs[0])
    assert wakeup_of(services, shard) is None
    assert services.control.xlen(services.keys.inbox(shard)) == 0
    assert [entry.version for entry in client.history(memory_id)] == [1, 2, 3, 4, 5, 6]


def test_a_job_after_the_silence_sends_a_wakeup_again(services, client):
    memory_id = added(services, client)
    drain(services, client.update(memory_id, "one"))
    before = messages_waiting(services)
    client.update(memory_id, "two")
    assert messages_waiting(services) == before + 1


def test_a_lost_wakeup_is_sent_again_by_the_sweeper(services, client):
    job = client.add("hello", user_id="ana", infer=False)
    shard = shard_of_job(services, job)
    services.control.delete(services.keys.wakeup(shard))
    before = messages_waiting(services)
    assert Sweeper(services).sweep() == {shard}
    assert messages_waiting(services) == before + 1
    assert Sweeper(services).sweep() == set(), "a wake-up on its way must not be sent again"


def test_an_empty_shard_is_not_woken(services, client):
    drain(services, client.add("hello", user_id="ana", infer=False))
    assert Sweeper(services).sweep() == set()


def test_of_many_sweepers_one_sends_the_wakeup(services, client):
    job = client.add("hello", user_id="ana", infer=False)
    services.control.delete(services.keys.wakeup(shard_of_job(services, job)))
    barrier = threading.Barrier(8)
    rang: list[set[int]] = []

    def look() -> None:
        barrier.wait()
        rang.append(Sweeper(services).sweep())

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(len, rang)) == [0] * 7 + [1]


def test_a_sweeper_that_came_first_leaves_the_client_no_wakeup_to_send(services, client):
    memory_id = added(services, client)
    client.update(memory_id, "one")
    services.control.delete(services.keys.wakeup(shard_of_memory(services, memory_id)))
    Sweeper(services).sweep()
    before = messages_waiting(services)
    client.update(memory_id, "two")
    assert messages_waiting(services) == before


def test_a_second_drain_of_a_shard_leaves_at_once(services, client):
    job = client.add("hello", user_id="ana", infer=False)
    shard = shard_of_job(services, job)
    wakeup = services.keys.wakeup(shard)
    assert scripts.run(services.control, [scripts.claim(wakeup=wakeup, owner="drain:other:1", lease_ms=60_000)]) == [1]
    assert drain(services, job) == 0
    assert job.status() == "queued"
    assert wakeup_of(services, shard) == "drain:other:1"


def test_a_drain_whose_budget_is_over_wakes_a_successor(services, client):
    memory_id = added(services, client)
    jobs = [client.update(memory_id, f"text {n}") for n in range(3)]
    reconfigure(services, drain_batch=1, drain_budget=1e-9)
    before = messages_waiting(services)
    assert drain(services, jobs[0]) == 1
    assert messages_waiting(services) == before + 1
    assert wakeup_of(services, shard_of_job(services, jobs[0])).startswith("rung:drain:")
    assert [job.status() for job in jobs] == ["succeeded", "queued", "queued"]


def test_a_drain_that_lost_its_lease_does_not_touch_the_new_owners_wakeup(services, client, monkeypatch):
    job = client.add("hello", user_id="ana", infer=False)
    shard = shard_of_job(services, job)
    wakeup = services.keys.wakeup(shard)
    real = BatchRunner.run

    def work_and_lose_the_lease(self, entries):
        done = real(self, entries)
        services.control.set(wakeup, "drain:other:1", px=60_000)
        return done

    monkeypatch.setattr(BatchRunner, "run", work_and_lose_the_lease)
    drain(services, job)
    assert wakeup_of(services, shard) == "drain:other:1"
    assert job.status() == "succeeded"


@pytest.mark.parametrize("meets", ["closing", "closed"])
def test_a_shard_that_is_given_back_is_not_called_lost(services, client, monkeypatch, caplog, meets):
    """A renewal may be on its way while the drain closes the shard."""
    shard = shard_of_job(services, client.add("hello", user_id="ana", infer=False))
    wakeup, owner = services.keys.wakeup(shard), "drain:mine:1"
    claim = ShardClaim(shard, services.keys.inbox(shard), wakeup, owner)
    claims = ShardClaims(services.store, services.notifier, services.leases)
    assert claims.claim(claim)
    claims.hold(claim)
    real, met = execution.round_trip, []

    def meet(connection, commands, *kept):
        is_renewal = scripts.renew.runs_in(commands[0])
        if meets == "closed" and is_renewal and not met:
            met.append(True)
            claims.close(given_up=[claim])
        replies = real(connection, commands, *kept)
        if meets == "closing" and scripts.close.runs_in(commands[0]):
            met.append(True)
            services.leases.renew()
        return replies

    monkeypatch.setattr(execution, "round_trip", meet)
    if meets == "closing":
        claims.close(given_up=[claim])
    else:
        services.leases.renew()
    assert met
    assert wakeup_of(services, shard).startswith("rung:")
    assert "a drain lost its shard" not in caplog.text
    assert not services.leases.is_lost(owner)


def test_a_shard_that_another_drain_has_is_called_lost(services, client, caplog):
    shard = shard_of_job(services, client.add("hello", user_id="ana", infer=False))
    claim = ShardClaim(shard, services.keys.inbox(shard), services.keys.wakeup(shard), "drain:mine:1")
    claims = ShardClaims(services.store, services.notifier, services.leases)
    assert claims.claim(claim)
    claims.hold(claim)
    services.leases.renew()
    claims.close(given_up=[])
    assert "a drain lost its shard" not in caplog.text
    services.control.set(claim.wakeup, "drain:other:1", px=60_000)
    services.leases.renew()
    assert "a drain lost its shard" in caplog.text
    claims.close(given_up=[])
    assert claims.held == []


@pytest.mark.parametrize("after", DEATHS)
def test_a_drain_that_dies_at_any_step_loses_nothing_and_repeats_nothing(services, client, monkeypatch, after):
    """Every round trip of a drain is a place to die at; a successor must end all jobs, with single effects."""
    deaths = 0
    for step in range(1, 50):
        memory_id = added(services, client)
        jobs = [
            client.update(memory_id, "I enjoy seafood."),
            client.update(memory_id, metadata={"topic": "food"}),
            client.delete(memory_id),
            client.restore(memory_id, version=1),
        ]
        with monkeypatch.context() as patch:
            die_at(patch, step, after=after)
            try:
                drain(services, jobs[0])
            except Killed:
                deaths += 1
            else:
                break
        # The dead worker's leases run out.
        shard = shard_of_job(services, jobs[0])
        services.control.delete(services.keys.wakeup(shard))
        services.data.delete(services.keys.lock(memory_id))
        Sweeper(services).sweep()
        Drain(services, shard).run()
        assert [job.status() for job in jobs] == ["succeeded"] * 4, f"died at step {step}"
        history = client.history(memory_id)
        assert [entry.version for entry in history] == [1, 2, 3, 4, 5], f"died at step {step}"
        assert [entry.job_id for entry in history[1:]] == [job.id for job in jobs]
        assert client.get(memory_id).memory == history[-1].new_memory == "I dislike seafood."
        assert [job.wait(1).results[0].event for job in jobs] == [entry.event for entry in history[1:]]
        assert services.control.xlen(services.keys.inbox(shard)) == 0
    assert deaths >= 5, "the drain was expected to make at least five round trips"


def test_feed_names_each_change_once_even_when_its_worker_died(services, client, monkeypatch):
    memory_id = added(services, client)
    job = client.update(memory_id, "I enjoy seafood.")

    def die(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(ShardClaims, "_close", die)  # finish.lua has run, the wake-up key still stands
        with pytest.raises(Killed):
            drain(services, job)
    services.control.delete(services.keys.wakeup(shard_of_job(services, job)))
    drain(services, job)
    changes = [raw for _, raw in services.control.xrange(services.keys.feed) if raw[b"memory_id"] == memory_id.encode()]
    assert [(raw[b"event"], raw[b"version"]) for raw in changes] == [(b"ADD", b"1"), (b"UPDATE", b"2")]
    assert all(b"memory" not in raw and b"text" not in raw for raw in changes), "the feed carries no content"


def test_a_job_that_kills_every_worker_is_dead_lettered_and_its_neighbours_succeed(services, client, monkeypatch):
    memory_id = added(services, client)
    poison = client.update(memory_id, "poison")
    innocent = client.update(memory_id, metadata={"fine": True})
    shard = shard_of_job(services, poison)
    real = BatchRunner._work

    def die_of_poison(self, works):
        if any(work.job_id == poison.id for work in works):
            raise Killed
        return real(self, works)

    monkeypatch.setattr(BatchRunner, "_work", die_of_poison)
    for _ in range(services.settings.poison_deliveries):
        with pytest.raises(Killed):
            Drain(services, shard).run()
        services.control.delete(services.keys.wakeup(shard))
    Drain(services, shard).run()
    assert poison.wait(1).error["code"] == "POISON"
    assert innocent.status() == "succeeded"
    assert [letter.job_id for letter in client.dead_letters()] == [poison.id]


def test_a_transient_failure_waits_in_the_delayed_set_and_comes_back(services, client, openai_server):
    openai_server.faults.add(Fault("unavailable", times=10))
    job = client.add("hello", user_id="ana", infer=False)
    drain(services, job)
    info = job.info()
    assert info.status == "retrying"
    assert info.attempts == 1
    assert info.error["code"] == "PROVIDER_FAILING"
    assert info.next_attempt_at > info.submitted_at
    member = f"{shard_of_job(services, job)}:{job.id}"
    assert services.control.zscore(services.keys.delayed, member) is not None
    openai_server.faults.clear()
    services.control.zadd(services.keys.delayed, {member: 0})  # its time has come
    assert Sweeper(services).sweep() == {shard_of_job(services, job)}
    drain(services, job)
    assert job.wait(1).status == "succeeded"
    assert job.info().attempts == 2


def test_a_delayed_job_is_requeued_once_by_many_sweepers(services, client, openai_server):
    openai_server.faults.add(Fault("unavailable", times=10))
    job = client.add("hello", user_id="ana", infer=False)
    drain(services, job)
    shard = shard_of_job(services, job)
    services.control.zadd(services.keys.delayed, {f"{shard}:{job.id}": 0})
    for _ in range(3):
        Sweeper(services).sweep()
    assert services.control.xlen(services.keys.inbox(shard)) == 1


def test_two_requeues_of_one_delayed_job_make_one_entry(services, client):
    job = client.add("hello", user_id="ana", infer=False)
    drain(services, job)
    shard, keys = shard_of_job(services, job), services.keys
    services.control.zadd(keys.delayed, {f"{shard}:{job.id}": 0})
    requeue = scripts.requeue(
        delayed=keys.delayed,
        inbox=keys.inbox(shard),
        wakeup=keys.wakeup(shard),
        shards=keys.shards,
        member=f"{shard}:{job.id}",
        record_id=job.id,
        shard=shard,
        woken_by="rung:a notice",
        wakeup_ttl_ms=60_000,
    )
    assert scripts.run(services.control, [requeue, requeue]) == [1, 0]
    assert services.control.xlen(keys.inbox(shard)) == 1


def test_the_first_outcome_of_a_job_stands(services, client):
    """Two readers may work one job when a lease was lost; the second one's word must not undo the first one's."""
    job = client.add("hello", user_id="ana", infer=False)
    drain(services, job)
    first = job.info()
    late = {"job": job.id, "entry": "1-1", "status": "failed", "results": "[]", "due": 0, "channel": "x"}
    late |= {"feed": [], "disputed": [], "resolved": [], "dead": True, "succeeded": 0, "failed": 1}
    assert finish(services, shard_of_job(services, job), late) == (0, {}, {0})
    assert job.info() == first
    assert client.dead_letters() == []


def test_only_the_latest_attempt_may_say_that_a_job_failed(services, client):
    """A worker that stood still decides on what it read long ago; its successor has changed the memory meanwhile."""
    memory_id = added(services, client)
    job = client.update(memory_id, "changed")
    keys = services.keys
    services.control.hset(keys.job(job.id), mapping={"status": "running", "attempt_token": "the successor's"})
    late = {"job": job.id, "entry": "1-1", "attempt": "the late one's", "status": "failed", "results": "[]", "due": 0}
    late |= {"channel": "x", "feed": [], "disputed": [], "resolved": [], "dead": True, "succeeded": 0, "failed": 1}
    assert finish(services, shard_of_job(services, job), late) == (0, {}, {0})
    assert job.status() == "running"
    drain(services, job)
    assert job.status() == "succeeded"


def test_a_lost_index_is_rebuilt_with_all_it_had(services, client):
    memory_id = added(services, client)
    # As FLUSHDB does on any database of the server, but for this test's index alone.
    services.data.execute_command("FT.DROPINDEX", services.keys.index(services.settings.space.name))
    with pytest.raises(VectorStoreError):
        client.get_all(user_id="ana")
    sweeper = Sweeper(services)
    sweeper._index_checked = 0.0
    sweeper.sweep()
    until(lambda: client.get_all(user_id="ana").results)  # the server indexes what is there in the background
    assert [memory.id for memory in client.get_all(user_id="ana").results] == [memory_id]


def test_submission_times_rise_even_when_the_clock_steps_back(services, client):
    services.control.set(services.keys.clock, "9000000000000000")
    jobs = [client.add(f"fact {number}", user_id="ana", infer=False) for number in range(3)]
    times = [int(services.control.hget(services.keys.job(job.id), "submitted")) for job in jobs]
    assert times == [9000000000000001, 9000000000000002, 9000000000000003]
    for job in jobs:
        drain(services, job)


def test_attempts_end_in_a_dead_letter_that_can_be_replayed(services, client, openai_server):
    reconfigure(services, max_attempts=2)
    openai_server.faults.add(Fault("unavailable", times=100))
    job = client.add("hello", user_id="ana", infer=False)
    drain(services, job)
    services.control.zadd(services.keys.delayed, {f"{shard_of_job(services, job)}:{job.id}": 0})
    Sweeper(services).sweep()
    drain(services, job)
    assert job.status() == "failed"
    assert [letter.job_id for letter in client.dead_letters()] == [job.id]
    openai_server.faults.clear()
    assert client.replay(job.id).id == job.id
    drain(services, job)
    assert job.wait(1).results[0].version == 1
    assert client.dead_letters() == []


def test_a_cancelled_job_never_runs(services, client, openai_server):
    memory_id = added(services, client)
    job = client.update(memory_id, "never")
    assert job.cancel() is True
    openai_server.clear_requests()
    drain(services, job)
    assert job.status() == "cancelled"
    assert client.get(memory_id).version == 1
    assert openai_server.requests == []


def test_a_running_job_that_is_cancelled_stops_before_its_commit(services, client, monkeypatch):
    memory_id = added(services, client)
    job = client.update(memory_id, "never")
    real = services.embedding.embed

    def cancel_while_embedding(texts, meter=None):
        client._run(jobs.cancel(client.settings, client._keys, client.project, job.id))
        return real(texts)

    monkeypatch.setattr(services.embedding, "embed", cancel_while_embedding)
    drain(services, job)
    assert job.status() == "cancelled"
    assert [entry.version for entry in client.history(memory_id)] == [1]


@pytest.mark.parametrize("where", ["before it opens", "before its last look", "before its commit"])
@pytest.mark.parametrize("state", ["ended", "waiting"])
def test_what_was_cancelled_stays_so_when_an_older_attempt_goes_on(services, client, monkeypatch, where, state):
    memory_id = added(services, client)
    job = client.update(memory_id, "never")
    owner, name = {
        "before it opens": (apply, "open_memories"),
        "before its last look": (apply._Rounds, "_drop_cancelled"),
        "before its commit": (apply, "commit_changes"),
    }[where]
    real, lock = getattr(owner, name), services.keys.lock(memory_id)
    answers = []

    def stand_still(*args):
        if not answers:
            answers.append("")
            meanwhile()
        return real(*args)

    def meanwhile():
        """The attempt's lease runs out, and another worker gets the shard; then its lock runs out, too."""
        services.control.delete(services.keys.wakeup(shard_of_job(services, job)))
        if state == "waiting":
            services.data.set(lock, "another", nx=True, px=60_000)
            drain(services, job)
            assert job.status() == "retrying", "the memory is locked"
        answers[0] = ask_to_cancel(client, job)
        services.data.delete(lock)
        let_time_pass(services)
        drain(services, job)
        answers.append(job.status())

    monkeypatch.setattr(owner, name, stand_still)
    drain(services, job)
    assert answers[0] == "running", "the job began, so its next attempt answers"
    assert answers[1] == "cancelled"
    assert (job.status(), client.get(memory_id).version) == ("cancelled", 1)
    assert [entry.version for entry in client.history(memory_id)] == [1]


def ask_to_cancel(client, job):
    """As `job.cancel` does, without waiting for the workers' answer."""
    return client._run(jobs.cancel(client.settings, client._keys, client.project, job.id))


def test_an_effect_that_an_older_attempt_committed_is_not_called_cancelled(services, client, monkeypatch):
    """The next attempt fences the job and finds that it comes too late."""
    memory_id = added(services, client)
    job = client.update(memory_id, "done")
    real = dispatch.apply_operations

    def commit_meanwhile(operations, *args, **more):
        real(operations, *args, **more)  # the older attempt goes on just now
        return [ItemOutcome(operation, cancelled=True) for operation in operations]

    services.control.hset(services.keys.job(job.id), "started", 1)
    monkeypatch.setattr(dispatch, "apply_operations", commit_meanwhile)
    drain(services, job)
    assert (job.status(), client.get(memory_id).memory) == ("succeeded", "done")
    assert job.wait(1).results[0].version == 2


def test_a_job_that_waits_for_its_next_attempt_is_cancelled_by_it_at_once(services, client, openai_server):
    memory_id = added(services, client)
    with_settings(services, client, retry_base=200.0, retry_max=300.0)
    openai_server.faults.add(Fault("unavailable", times=100))
    job = client.update(memory_id, "never")
    drain(services, job)
    assert job.status() == "retrying"
    assert ask_to_cancel(client, job) == "running"
    Sweeper(services).sweep()
    drain(services, job)
    assert (job.status(), client.get(memory_id).version) == ("cancelled", 1)
    assert services.data.get(services.keys.applied(memory_id, job.id)) == b"CANCELLED:0"
    assert client.dead_letters() == []


def test_a_finished_job_cannot_be_cancelled(services, client):
    memory_id = added(services, client)
    job = client.update(memory_id, "done")
    drain(services, job)
    assert job.cancel() is False
    assert client.get(memory_id).memory == "done"


def test_jobs_that_were_in_progress_at_a_death_are_worked_one_at_a_time_in_a_process(services, client, monkeypatch):
    jobs = [client.add(f"fact {number}", user_id="ana", infer=False) for number in range(3)]
    shard = shard_of_job(services, jobs[0])
    stream = services.keys.inbox(shard)
    inbox.ensure_group(services.control, stream)
    entries = inbox.read_new(services.control, [stream], len(jobs))
    inbox.take_over(services.control, stream, [entry.id for entry in entries])  # a second delivery
    held = []
    real = inbox.take_over

    def take_over(control, stream, entry_ids):
        held.append(services.poison_lock.locked())
        return real(control, stream, entry_ids)

    monkeypatch.setattr(inbox, "take_over", take_over)
    for job in jobs:
        drain(services, job)
    assert held == [True] * len(entries)
    assert not services.poison_lock.locked()


def test_a_job_of_which_a_part_is_committed_is_not_called_cancelled(services, client, openai_server):
    """Of two messages one is stored, the other waits for the provider: cancelling keeps the first and says so."""
    pipeline = services.embedding.requests
    pipeline._settings = pipeline._settings.model_copy(update={"embedding_max_inputs": 1, "embedding_quick_retries": 0})
    openai_server.faults.add(Fault("unavailable", times=10, match="waits"))
    job = client.add([{"role": "user", "content": "stored"}, {"role": "user", "content": "waits"}], "ana", infer=False)
    drain(services, job)
    assert job.status() == "retrying"
    with pytest.raises(JobTimeoutError):
        job.cancel(timeout=0.1)  # nobody works just now
    openai_server.clear_requests()
    Sweeper(services).sweep()
    drain(services, job)
    result = job.wait(1)
    assert result.status == "partially_succeeded"
    assert [item.memory or item.error["code"] for item in result.results] == ["stored", "CANCELLED"]
    assert openai_server.requests == [], "what is cancelled is not paid for"
    assert job.cancel() is False
