"""Entries that were read and not ended: by a worker that died, that gave up, or whose answer from Redis was lost."""

from __future__ import annotations

import time

import pytest
import redis
from redis.exceptions import TimeoutError as RedisTimeoutError

from emendo_config.store import scripts
from emendo_workers.intake import drain as drains
from emendo_workers.intake import inbox
from emendo_workers.intake.attempt import BatchRunner
from emendo_workers.intake.drain import Drain
from tests.support.intake import added, drain, reconfigure, shard_of_job

STALLS = 8


def deaths(services, job, *, worker: str = "this one", living: tuple[str, ...] = ()) -> int:
    """The count of dead workers, as a drain of `worker` asks for it."""
    command = scripts.deaths(
        workers=services.keys.workers,
        worker=worker,
        silence_ms=1_000,
        living=living,
        records=[services.keys.job(job.id)],
    )
    return scripts.deaths.reply(scripts.run(services.control, [command])[0])[0]


def begin(services, job, worker: str, token: str) -> None:
    record = services.keys.job(job.id)
    scripts.run(
        services.control, [scripts.start(token=token, worker=worker, records=[scripts.Attempt(record, record)])]
    )


def sign(services, worker: str, age: float = 0.0) -> None:
    services.control.zadd(services.keys.workers, {worker: int((time.time() - age) * 1_000)})


@pytest.mark.parametrize("step", ["before the commit", "after the commit"])
def test_stalls_of_the_control_redis_are_no_deaths(services, client, monkeypatch, step):
    memory_id = added(services, client)
    job = client.update(memory_id, "new")
    shard = shard_of_job(services, job)

    def stall(*_, **__):
        raise RedisTimeoutError

    with monkeypatch.context() as patch:
        patch.setattr(BatchRunner, "_finish" if step == "after the commit" else "_begin", stall)
        for _ in range(STALLS):
            with pytest.raises(RedisTimeoutError):
                Drain(services, shard).run()
            services.control.delete(services.keys.wakeup(shard))
    Drain(services, shard).run()
    assert job.status() == "succeeded"
    assert [entry.version for entry in client.history(memory_id)] == [1, 2]
    assert client.dead_letters() == []


def test_workers_that_died_are_counted_once_each(services, client):
    job = client.add("hello", user_id="ana", infer=False)
    assert deaths(services, job) == 0, "nobody began it"
    for number in range(3):
        begin(services, job, f"dead {number}", f"token {number}")
        sign(services, f"dead {number}", age=60)
        assert [deaths(services, job), deaths(services, job)] == [number + 1] * 2
    begin(services, job, "forgotten", "token")
    assert deaths(services, job) == 4, "a worker without any sign of life is dead"
    drain(services, job)
    assert job.status() == "succeeded"
    assert services.control.hexists(services.keys.job(job.id), "deaths") == 0


def test_a_live_worker_is_no_death_nor_one_that_comes_back(services, client):
    job = client.add("hello", user_id="ana", infer=False)
    begin(services, job, "alive", "first")
    sign(services, "alive")
    assert deaths(services, job) == 0
    begin(services, job, "stalled", "second")
    sign(services, "stalled", age=60)
    assert deaths(services, job) == 1
    sign(services, "stalled", age=30)
    begin(services, job, "this one", "third")
    assert deaths(services, job, living=("third",)) == 0, "it gave a sign of life after it was suspected"
    assert deaths(services, job) == 1, "an attempt of this process that no thread makes any more"
    drain(services, job)


def test_a_read_whose_answer_was_lost_costs_neither_the_job_nor_a_busy_loop(services, client, monkeypatch):
    memory_id = added(services, client)
    job = client.update(memory_id, "new")
    real, reads = redis.Redis.xreadgroup, []

    def lossy(*args, **more):
        reads.append(1)
        if len(reads) == 1:
            real(*args, **more)  # carried out; the connection breaks, and redis-py asks again
        return real(*args, **more)

    monkeypatch.setattr(redis.Redis, "xreadgroup", lossy)
    began = time.monotonic()
    assert drain(services, job) == 1
    assert time.monotonic() - began < 2
    assert len(reads) <= 3
    assert job.status() == "succeeded"
    assert services.control.xlen(services.keys.inbox(shard_of_job(services, job))) == 0


def test_an_entry_that_nobody_can_read_costs_no_busy_loop(services, client, monkeypatch):
    job = client.add("hello", user_id="ana", infer=False)
    stream = services.keys.inbox(shard_of_job(services, job))
    inbox.ensure_group(services.control, stream)
    inbox.read_new(services.control, [stream], 10)
    real, reads = redis.Redis.xreadgroup, []
    reconfigure(services, drain_budget=0.5)
    with monkeypatch.context() as patch:
        patch.setattr(drains, "recover", lambda *_: 0)
        patch.setattr(redis.Redis, "xreadgroup", lambda *args, **more: reads.append(1) or real(*args, **more))
        assert drain(services, job) == 0
    assert len(reads) < 15
    assert drain(services, job) == 1


def test_an_entry_that_was_acknowledged_and_not_deleted_is_worked(services, client):
    memory_id = added(services, client)
    job = client.update(memory_id, "new")
    stream = services.keys.inbox(shard_of_job(services, job))
    inbox.ensure_group(services.control, stream)
    (entry,) = inbox.read_new(services.control, [stream], 10)
    services.control.xack(stream, inbox.GROUP, entry.id)
    assert drain(services, job) == 1
    assert job.status() == "succeeded"
    assert services.control.xlen(stream) == 0


def test_a_batch_takes_no_further_job_once_it_is_full_of_bytes(services, client, monkeypatch):
    memory_id = added(services, client)
    jobs = [client.update(memory_id, f"text {number}" + "." * 400) for number in range(5)]
    reconfigure(services, drain_bytes=700)
    sizes = []
    real = BatchRunner._work

    def work(self, works):
        sizes.append(len(works))
        return real(self, works)

    monkeypatch.setattr(BatchRunner, "_work", work)
    assert drain(services, jobs[0]) == len(jobs)
    assert max(sizes) == 2
    assert [(job.status(), job.info().attempts) for job in jobs] == [("succeeded", 1)] * len(jobs)
    assert [entry.job_id for entry in client.history(memory_id)[1:]] == [job.id for job in jobs]
