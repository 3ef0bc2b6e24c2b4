"""Shared by the tests of the intake: looks into the state machine, and steps of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import redis

from emendo_client import Job, MemoryClient
from emendo_config.shards import shard_of
from emendo_config.store import scripts
from emendo_config.store.pipeline import as_text
from emendo_workers.intake.drain import Drain
from emendo_workers.intake.sweeper import Sweeper
from emendo_workers.services import Services


def broker(services: Services) -> redis.Redis:
    return redis.Redis.from_url(services.settings.broker_url)


def messages_waiting(services: Services) -> int:
    """Drain messages published and not yet taken: nobody consumes them in these tests."""
    with broker(services) as connection:
        return int(connection.llen(f"{services.settings.key_prefix}interactive"))


def wakeup_of(services: Services, shard: str) -> str | None:
    value = services.control.get(services.keys.wakeup(shard))
    return value.decode() if value else None


def shard_of_job(services: Services, job: Job) -> str:
    return services.control.hget(services.keys.job(job.id), "shard").decode()


def shard_of_memory(services: Services, memory_id: str) -> str:
    return shard_of(memory_id, services.settings)


def finish(services: Services, shard: str, outcome: dict[str, Any]) -> scripts.Finished:
    """Records the outcome of an attempt at a single job, as the shard's drain would."""
    keys = services.keys
    record = keys.job(outcome["job"])
    ending = scripts.Ending(record, record, keys.conflicts("default"), json.dumps(outcome), "[]")
    command = scripts.finish(
        inbox=keys.inbox(shard),
        feed=keys.feed,
        delayed=keys.delayed,
        dead_projects=keys.dead_projects,
        cancelling=keys.cancelling,
        ttl=60,
        feed_length=10,
        channel_prefix=keys.job_channels,
        dead_prefix=keys.dead(""),
        dead_of_prefix=keys.dead_of(""),
        endings=[ending],
    )
    return scripts.finish.reply(scripts.run(services.control, [command])[0])


def drain(services: Services, job: Job) -> int:
    return Drain(services, shard_of_job(services, job)).run()


def added(services: Services, client: MemoryClient, text: str = "I dislike seafood.", **more: Any) -> str:
    """The id of a new memory, worked by a drain of this process."""
    job = client.add(text, **{"user_id": "ana", "infer": False, **more})
    drain(services, job)
    result = job.wait(1)
    assert result.status == "succeeded", result
    return result.results[0].memory_id


def bring_back(services: Services, *jobs: Job) -> None:
    """The time of jobs that were put aside has come, in their order: the sweeper returns them, drains work them."""
    keys = services.keys
    due = {f"{shard_of_job(services, job)}:{job.id}": place for place, job in enumerate(jobs)}
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
    """Jobs that wait for their next attempt are due now, and back in their inboxes."""
    delayed = services.keys.delayed
    due = services.control.zrange(delayed, 0, -1)
    if due:
        scripts.run(services.control, [scripts.hurry(delayed=delayed, members=due)])  # also in a full Redis
    Sweeper(services).sweep()


def with_settings(services: Services, client: MemoryClient, **values: Any) -> None:
    """Gives services and client the same changed settings."""
    reconfigure(services, **values)
    client.settings = services.settings


def reconfigure(services: Services, **values: Any) -> None:
    """Changes settings of the services only."""
    services.store = replace(services.store, settings=services.settings.model_copy(update=values))


def account_of(services: Services, job: Job) -> dict[str, int]:
    """A batch job's counters."""
    names = ("items", "chunks", "done", "succeeded", "failed", "open", "dead")
    values = services.control.hmget(services.keys.job(job.id), names)
    return {name: int(value or 0) for name, value in zip(names, values, strict=True)}
