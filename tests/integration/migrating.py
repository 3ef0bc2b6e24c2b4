"""What the tests of re-embedding share: working a job step by step, dying anywhere, and looking at what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import redis
from intake import Killed, drain_all, let_time_pass, shards_with_work
from spaces import assert_right

from emendo_client import Job, JobInfo, MemoryClient, steps
from emendo_config.index import find_active, indexed_space, restore_indexes
from emendo_config.redis_io import as_text
from emendo_config.registry import SpaceRecord, read_registry
from emendo_workers import scripts
from emendo_workers.drain import Drain
from emendo_workers.reembedding import steps as reembedding_steps
from emendo_workers.services import Services
from emendo_workers.sweeper import Sweeper

# Seconds; far more than any of these jobs takes.
PATIENCE = 30.0


def work_until(services: Services, done: Callable[[], bool]) -> None:
    """Drains all shards and brings back what was put aside, again and again, until something holds."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if done():
            return
        drain_all(services)
        let_time_pass(services)
    raise AssertionError(f"it never came to pass: {services.control.hgetall(services.keys.migration)}")


def worked(services: Services, job: Job) -> JobInfo:
    """The job, when it is over."""
    work_until(services, lambda: job.status().is_final)
    return job.info()


def reembedded(services: Services, client: MemoryClient, **wanted: Any) -> SpaceRecord:
    """The new space, when searches answer from it."""
    info = worked(services, client.reembed(**wanted))
    assert info.status == "succeeded", info
    return active_space(services)


def active_space(services: Services) -> SpaceRecord:
    records = read_registry(services.data, services.keys)
    return find_active(indexed_space(services.data, services.keys), records)


def registered(services: Services) -> list[str]:
    return [record.name for record in read_registry(services.data, services.keys)]


def indexes(services: Services) -> set[str]:
    names = {as_text(name) for name in services.data.execute_command("FT._LIST")}
    return {name for name in names if name.startswith(services.settings.key_prefix)}


def assert_only(services: Services, ids: list[str], space: SpaceRecord) -> None:
    """Every memory has this space's vector and nothing of another; nothing else is registered or indexed."""
    for memory_id in ids:
        assert_right(services, memory_id, space)
    assert registered(services) == [space.name]
    assert indexes(services) == {services.keys.index(space.name)}
    assert active_space(services).name == space.name


def migrations_told(services: Services) -> list[str]:
    """The spaces the feed says searches went over to."""
    entries = services.control.xrange(services.keys.feed)
    return [as_text(fields[b"space"]) for _, fields in entries if fields[b"event"] == b"MIGRATE"]


def until_phase(services: Services, client: MemoryClient, phase: str) -> None:
    """Takes single steps until the re-embedding is there."""
    until(services, lambda: client.migration().phase == phase)


def until(services: Services, reached: Callable[[], bool]) -> None:
    """Takes single steps, and works what they queue, until something holds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reembedding_steps, "STEP_SECONDS", 0.0)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if reached():
                return
            let_time_pass(services)
            for shard in shards_with_work(services):
                Drain(services, shard).run()
    raise AssertionError(f"it never came to pass: {services.control.hgetall(services.keys.migration)}")


def die_at(patch: Any, step: int) -> None:
    """Lets drains die before their step-th round trip to Redis, which is after the one before it."""
    made, draining = 0, False
    run = Drain.run

    def drain(self: Drain) -> int:
        nonlocal draining
        draining = True
        done = run(self)
        draining = False
        return done

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            nonlocal made
            made += draining
            if made >= step:
                raise Killed
            return real(*args, **more)

        return call

    patch.setattr(Drain, "run", drain)
    patch.setattr(scripts, "round_trip", dying(scripts.round_trip))
    patch.setattr(steps, "round_trip", dying(steps.round_trip))
    patch.setattr(redis.Redis, "execute_command", dying(redis.Redis.execute_command))
    patch.setattr(redis.client.Pipeline, "execute", dying(redis.client.Pipeline.execute))


def another_worker(services: Services) -> None:
    """The dead worker's leases have run out, and a new one looks around."""
    for raw in services.control.smembers(services.keys.shards):
        services.control.delete(services.keys.bell(as_text(raw)))
    for key in services.data.scan_iter(match=f"{services.keys.lock('*')}"):
        services.data.delete(key)
    restore_indexes(services.data, services.settings)
    Sweeper(services).sweep()
