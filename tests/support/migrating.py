"""Shared by the tests of re-embedding: working a job step by step, and looking at its outcome."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from emendo_client import Job, JobInfo, MemoryClient
from emendo_config.spaces.bootstrap import indexed_space, restore_indexes
from emendo_config.spaces.index import find_active
from emendo_config.spaces.registry import SpaceRecord, read_registry
from emendo_config.store.pipeline import as_text
from emendo_workers.intake.drain import Drain
from emendo_workers.intake.sweeper import Sweeper
from emendo_workers.reembedding import phases
from emendo_workers.services import Services
from tests.support.intake import drain_all, let_time_pass, shards_with_work
from tests.support.patience import PATIENCE
from tests.support.spaces import assert_right


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
        patch.setattr(phases, "ATTEMPT_SECONDS", 0.0)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if reached():
                return
            let_time_pass(services)
            for shard in shards_with_work(services):
                Drain(services, shard).run()
    raise AssertionError(f"it never came to pass: {services.control.hgetall(services.keys.migration)}")


def another_worker(services: Services) -> None:
    """The dead worker's leases have run out, and a new one looks around."""
    for raw in services.control.smembers(services.keys.shards):
        services.control.delete(services.keys.wakeup(as_text(raw)))
    for key in services.data.scan_iter(match=f"{services.keys.lock('*')}"):
        services.data.delete(key)
    restore_indexes(services.data, services.settings)
    Sweeper(services).sweep()
