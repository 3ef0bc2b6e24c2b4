"""Delayed jobs whose time has come: all of them are back after one look of the sweeper."""

from __future__ import annotations

from emendo_config.store.formats import delayed_member
from emendo_workers.intake import sweeper
from emendo_workers.intake.sweeper import Sweeper
from tests.support.intake import added, bring_back, drain, drain_all, let_time_pass, put_aside, shard_of_job


def delay(services, shard, count):
    members = {delayed_member(shard, f"{shard}-{number}"): number for number in range(count)}
    services.control.zadd(services.keys.delayed, members)


def test_one_look_returns_all_due_jobs_and_leaves_the_others(services):
    """After an outage there are more of them than one page holds."""
    delay(services, "3", 2 * sweeper.PAGE + 7)
    services.control.zadd(services.keys.delayed, {delayed_member("4", "later"): 9e15})
    assert Sweeper(services).sweep() == {"3"}
    assert services.control.xlen(services.keys.inbox("3")) == 2 * sweeper.PAGE + 7
    assert services.control.zrange(services.keys.delayed, 0, -1) == [b"4:later"]


def test_a_look_ends_although_more_jobs_are_due(services, monkeypatch):
    """Forgotten shards and abandoned batches must not wait for ever behind jobs that keep coming."""
    monkeypatch.setattr(sweeper, "PAGE", 2)
    monkeypatch.setattr(sweeper, "LONGEST_RETURN", 0.0)
    delay(services, "3", 10)
    Sweeper(services).sweep()
    assert services.control.xlen(services.keys.inbox("3")) == 2


def lose(services, job):
    services.control.zrem(services.keys.delayed, delayed_member(shard_of_job(services, job), job.id))
    services.control.delete(services.keys.job(job.id))


def due_times(services, jobs):
    scores = {
        member.decode().partition(":")[2]: score
        for member, score in services.control.zrange(services.keys.delayed, 0, -1, withscores=True)
    }
    return [scores[job.id] for job in jobs]


def test_of_the_jobs_that_wait_for_one_lock_only_the_first_comes_back_soon(services, client):
    """5,000 of them would otherwise come back five times a second, before everybody's retries."""
    memory_id, other = added(services, client), added(services, client, "Another one.")
    jobs = [client.update(memory_id, f"text {n}") for n in range(6)]
    put_aside(services, memory_id, jobs[0])
    theirs = client.update(other, "text")
    put_aside(services, other, theirs)
    assert [job.status() for job in jobs] == ["retrying"] * 6
    first, *rest = due_times(services, jobs)
    (their_time,) = due_times(services, [theirs])
    assert min(rest) - first > 5_000
    assert abs(their_time - first) < 2_000


def test_they_are_due_as_soon_as_the_first_one_has_ended(services, client):
    memory_id = added(services, client)
    jobs = [client.update(memory_id, f"text {n}") for n in range(6)]
    put_aside(services, memory_id, jobs[0])
    bring_back(services, jobs[0])
    assert jobs[0].wait(1).status == "succeeded"
    Sweeper(services).sweep()
    drain(services, jobs[1])
    assert [job.wait(1).status for job in jobs] == ["succeeded"] * 6
    assert [entry.new_memory for entry in client.history(memory_id)][1:] == [f"text {n}" for n in range(6)]
    assert not services.control.exists(services.keys.lock_queue(memory_id))


def test_a_first_job_that_is_lost_holds_nobody_back(services, client):
    memory_id = added(services, client)
    jobs = [client.update(memory_id, f"text {n}") for n in range(3)]
    put_aside(services, memory_id, jobs[0])
    lose(services, jobs[0])
    let_time_pass(services)
    drain_all(services)
    assert [job.wait(1).status for job in jobs[1:]] == ["succeeded", "succeeded"]


def test_a_job_that_is_busy_again_keeps_its_place(services, client):
    memory_id = added(services, client)
    jobs = [client.update(memory_id, f"text {n}") for n in range(3)]
    put_aside(services, memory_id, jobs[0])
    lock = services.keys.lock(memory_id)
    services.data.set(lock, "another worker", px=60_000)
    bring_back(services, jobs[0])
    member = delayed_member(shard_of_job(services, jobs[0]), jobs[0].id)
    assert services.control.zrank(services.keys.lock_queue(memory_id), member) == 0
    first, *rest = due_times(services, jobs)
    assert min(rest) > first
    services.data.delete(lock)
    bring_back(services, *jobs)
    assert {job.wait(1).status for job in jobs} == {"succeeded"}


def test_after_a_lost_first_job_the_next_one_comes_back_soon(services, client):
    memory_id = added(services, client)
    first = client.update(memory_id, "first")
    put_aside(services, memory_id, first)
    lose(services, first)
    second = client.update(memory_id, "second")
    put_aside(services, memory_id, second)
    (due,) = due_times(services, [second])
    seconds, _ = services.control.time()
    assert due / 1_000 < seconds + 2
    bring_back(services, second)


def test_many_jobs_behind_one_lock_delay_nobodys_retry_beyond_one_look(services, client, monkeypatch):
    monkeypatch.setattr(sweeper, "PAGE", 50)
    memory_id, other = added(services, client), added(services, client, "Another one.")
    jobs = [client.update(memory_id, f"text {n}") for n in range(300)]
    put_aside(services, memory_id, jobs[0])
    theirs = client.update(other, "text")
    put_aside(services, other, theirs)
    now = int(services.control.time()[0]) * 1_000
    due = services.control.zcount(services.keys.delayed, "-inf", now + 5_000)
    assert due == 2, "the first of them, and the other memory's"
    let_time_pass(services)  # even if all are due
    assert services.control.zcard(services.keys.delayed) == 0
    drain_all(services)
    assert theirs.wait(1).status == "succeeded"
    assert jobs[-1].wait(1).status == "succeeded"
