"""What the state machine's tests share: looks into the machine, and a way to die at any point."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import redis

from emendo_client import Job, MemoryClient
from emendo_config.redis_io import as_text
from emendo_config.shards import shard_of
from emendo_workers import scripts
from emendo_workers.drain import Drain
from emendo_workers.services import Services
from emendo_workers.sweeper import Sweeper

# Seconds; far more than anything takes that is waited for.
PATIENCE = 30.0


class Killed(BaseException):
    """What a SIGKILL looks like from inside: nothing catches it."""


def broker(services: Services) -> redis.Redis:
    return redis.Redis.from_url(services.settings.broker_url)


def messages_waiting(services: Services) -> int:
    """Drain messages published and not yet taken: nobody consumes them in these tests."""
    with broker(services) as connection:
        return int(connection.llen(f"{services.settings.key_prefix}interactive"))


def bell_of(services: Services, shard: str) -> str | None:
    value = services.control.get(services.keys.bell(shard))
    return value.decode() if value else None


def shard_of_job(services: Services, job: Job) -> str:
    return services.control.hget(services.keys.job(job.id), "shard").decode()


def shard_of_memory(services: Services, memory_id: str) -> str:
    return shard_of(memory_id, services.settings)


def drain(services: Services, job: Job) -> int:
    return Drain(services, shard_of_job(services, job)).run()


def added(services: Services, client: MemoryClient, text: str = "I dislike seafood.", **more: Any) -> str:
    """The id of a new memory, worked by a drain of this process."""
    job = client.add(text, user_id="ana", infer=False, **more)
    drain(services, job)
    result = job.wait(1)
    assert result.status == "succeeded", result
    return result.results[0].memory_id


def kill_at(monkeypatch: Any, step: int, *, after: bool) -> Callable[[], int]:
    """Dies at the step-th round trip to Redis, before or after it reached the server; dead from then on."""
    made = {"calls": 0}
    real = scripts.run

    def run(connection: redis.Redis, commands: Any) -> list[Any]:
        if made["calls"] >= step:
            raise Killed
        made["calls"] += bool(commands)
        if made["calls"] == step:
            if after:
                real(connection, commands)
            raise Killed
        return real(connection, commands)

    monkeypatch.setattr(scripts, "run", run)
    return lambda: made["calls"]


def bring_back(services: Services, *jobs: Job) -> None:
    """The time of jobs that were put aside has come: the sweeper returns them, and their shards are drained."""
    keys = services.keys
    due = {f"{shard_of_job(services, job)}:{job.id}": 0 for job in jobs}
    assert services.control.zadd(keys.delayed, due, xx=True, ch=True) == len(due), "a job was not put aside"
    Sweeper(services).sweep()
    for job in jobs:
        drain(services, job)


def put_aside(services: Services, memory_id: str, *jobs: Job) -> None:
    """Another worker has the memory, so the jobs must wait, and will arrive late."""
    lock = services.keys.lock(memory_id)
    services.data.set(lock, "another worker", px=60_000)
    for job in jobs:
        drain(services, job)
        assert job.status() == "retrying"
    services.data.delete(lock)


def until(holds: Callable[[], object]) -> None:
    """Looks again and again, in real time, until something holds that other threads or processes bring about."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it never came to pass"
        time.sleep(0.01)


def drain_all(services: Services) -> int:
    """Works every shard's inbox until all of them are empty; attempts made."""
    count = 0
    while True:
        made = sum(Drain(services, shard).run() for shard in shards_with_work(services))
        if not made:
            return count
        count += made


def shards_with_work(services: Services) -> list[str]:
    """Those whose inbox is not empty: a drain of each of the others would cost six round trips and do nothing."""
    shards = sorted(as_text(raw) for raw in services.control.smembers(services.keys.shards))
    pipeline = services.control.pipeline(transaction=False)
    for shard in shards:
        pipeline.xlen(services.keys.inbox(shard))
    return [shard for shard, length in zip(shards, pipeline.execute(), strict=True) if length]


def let_time_pass(services: Services) -> None:
    """What waits for its next attempt is due now, and back in its inbox."""
    delayed = services.keys.delayed
    due = dict.fromkeys(services.control.zrange(delayed, 0, -1), 0)
    if due:
        services.control.zadd(delayed, due)
    Sweeper(services).sweep()


def with_settings(services: Services, client: MemoryClient, **values: Any) -> None:
    """Gives services and client the same changed settings."""
    services.settings = client.settings = services.settings.model_copy(update=values)


def account_of(services: Services, job: Job) -> dict[str, int]:
    """A batch job's counters."""
    names = ("items", "chunks", "done", "succeeded", "failed", "open", "dead")
    values = services.control.hmget(services.keys.job(job.id), names)
    return {name: int(value or 0) for name, value in zip(names, values, strict=True)}
