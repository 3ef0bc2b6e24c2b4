"""The scenarios in which Redis or the broker is away; each takes a folder, a seed and a size, returns its report."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from emendo_client import MemoryClient
from tests.chaos.invariants import Report
from tests.chaos.storm import JOBS_A_DISASTER, Storm, freeze, thaw, together
from tests.chaos.traffic import Ask, Traffic
from tests.chaos.uncertain_calls import clear_up

# A slow machine may add so much to a time limit (seconds).
SLACK = 10.0


def redis_killed(directory: Path, seed: int, jobs: int) -> Report:
    """Redis is killed and started again on its append-only file (fsync always) while clients keep submitting."""
    with Storm("redis-killed", directory, seed).running(workers=2, appendfsync="always") as storm:
        storm.provider.latency_ms = 20
        ids = storm.traffic.add(max(20, jobs // 25))
        kinds = "uuuumbdrv" * 3 + "UDW"
        streams = 4
        with storm.happening(storm.kill_redis, most=jobs / JOBS_A_DISASTER):
            flow = lambda: storm.traffic.flow(ids, jobs // streams, kinds, rate=25, persistent=True)  # noqa: E731
            together([flow] * streams)
        storm.wait()
        storm.traffic.submissions += clear_up(storm.client, storm.traffic, storm.report)
        storm.report.notes.append(f"{storm.traffic.failures} calls failed, {len(storm.traffic.uncertain)} for good")
        return storm.check()


def broker_unreachable(directory: Path, seed: int, jobs: int) -> Report:
    """The broker alone is frozen, then killed: jobs are accepted in time, and worked when it is back, by themselves."""
    with Storm("broker-unreachable", directory, seed).running(workers=2, own_broker=True) as storm:
        ids = storm.traffic.add(20)
        _without_broker(storm, ids, jobs, lambda: freeze(storm.broker), lambda: thaw(storm.broker))
        _without_broker(storm, ids, jobs, storm.broker.kill, storm.broker.start)
        return storm.check()


def _without_broker(
    storm: Storm, ids: list[str], jobs: int, cut: Callable[[], None], repair: Callable[[], None]
) -> None:
    limit = storm.settings.broker_timeout + SLACK
    cut()
    storm.report.faults += 1
    with MemoryClient(storm.settings) as stranger:  # a client that never reached the broker
        foreign = Traffic(stranger, storm.report.seed)
        _timed(storm, limit, lambda: foreign.update(ids[0], "a stranger's"))
    storm.traffic.submissions += foreign.submissions
    for kind in "Uu":
        _timed(storm, limit, lambda kind=kind: storm.traffic.flow(ids, 1, kind, rate=1_000))
    streams = 8
    together([lambda: storm.traffic.flow(ids, jobs // streams, "uuumbdrvU")] * streams)
    repair()
    mended = time.monotonic()
    storm.wait()
    storm.report.notes.append(f"all worked {time.monotonic() - mended:.1f} s after the broker was back")


def redis_unreachable(directory: Path, seed: int, jobs: int) -> Report:
    """Redis is dead, then frozen: calls fail in time with NetworkError, and leave no job behind.

    One call is uncertain by nature: it was on its way over an open connection when the server froze. That one may be
    accepted when the server wakes, once at most.
    """
    with Storm("redis-unreachable", directory, seed, redis_timeout=1.0).running(workers=1) as storm:
        ids = storm.traffic.add(20)
        storm.redis.kill()
        _call_in_vain(storm, jobs // 4, Traffic(storm.client, seed), ids)
        storm.redis.start()
        storm.traffic.flow(ids, jobs, "umbdrvU")
        _check_nothing_came_of_it(storm, jobs)

        freeze(storm.redis)
        with MemoryClient(storm.settings) as stranger:  # has no open connection
            _call_in_vain(storm, jobs // 4, Traffic(stranger, seed), ids)
        thaw(storm.redis)
        storm.traffic.flow(ids, jobs, "umbdrvU")
        _check_nothing_came_of_it(storm, 2 * jobs)

        freeze(storm.redis)
        _call_in_vain(storm, jobs // 4, storm.traffic, ids)
        thaw(storm.redis)
        storm.wait()
        storm.traffic.submissions += clear_up(storm.client, storm.traffic, storm.report)
        storm.report.faults = 3
        return storm.check()


def _call_in_vain(storm: Storm, calls: int, traffic: Traffic, ids: list[str]) -> None:
    for number in range(max(2, calls)):
        before = traffic.failures
        ask = Ask("update", ids[number % len(ids)], text=f"in vain {number}")
        limit = storm.settings.redis_timeout + SLACK
        _timed(
            storm,
            limit,
            lambda ask=ask: traffic.send_once((ask,), lambda _: traffic.client.update(ask.memory_id, ask.text)),
        )
        if traffic.failures == before:
            storm.report.blame("wrong", "a call succeeded without Redis")


def _check_nothing_came_of_it(storm: Storm, jobs: int) -> None:
    with storm.raw() as control:
        left = control.zcard(storm.keys.jobs("default")) - jobs - 1  # the add
    if left:
        storm.report.blame("wrong", f"{left} jobs exist whose callers were told that they failed")


def broker_flushed(directory: Path, seed: int, jobs: int) -> Report:
    """The broker's messages and all wake-up keys vanish again and again: every accepted job still ends."""
    with Storm("broker-flushed", directory, seed).running(workers=2, own_broker=True) as storm:
        storm.provider.latency_ms = 20
        ids = storm.traffic.add(max(20, jobs // 25))
        with storm.happening(storm.flush_broker, pause=(0.1, 0.3)):
            storm.traffic.flow(ids, jobs, "uuuuumbrv" * 3 + "U", rate=100)
        with storm.workers_frozen():  # the last jobs' wake-ups wait in the broker, and no later job sends another
            storm.traffic.flow(ids, 50, "u", rate=5_000)
            storm.flush_broker()
        return storm.check()


def _timed(storm: Storm, limit: float, call: Callable[[], object]) -> None:
    """Makes the call, which may take so many seconds at most."""
    began = time.monotonic()
    call()
    took = time.monotonic() - began
    if took > limit:
        storm.report.blame("wrong", f"a call took {took:.1f} s, which may take {limit:g} s")
