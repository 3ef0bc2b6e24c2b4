"""The scenarios; each takes a folder, a seed and a size, and returns its report."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import redis
from storm import Report, Storm

from emendo_client.testing import Fault

POISON = "POISON-PILL"
# Loaded by the worker's interpreter at start: a job with this text kills its process, as a crashing C library would.
_SITE = f"""
import os, signal
from emendo_workers import apply
real = apply.apply_operations
def deadly(operations, services, **more):
    if any(operation.text == {POISON!r} for operation in operations):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(operations, services, **more)
apply.apply_operations = deadly
"""


def workers_killed(directory: Path, seed: int, jobs: int) -> Report:
    """Workers are killed with SIGKILL every 1-2 s and started again, with the default leases."""
    with Storm("workers killed", directory, seed).running(workers=3) as storm:
        storm.provider.latency_ms = 20
        ids = storm.add(max(20, jobs // 25))
        with storm.happening(storm.kill_a_worker):
            submitted = storm.submit_randomly(ids, jobs, rate=100 if jobs < 1_000 else 200)
            results = storm.wait_for(submitted, 240)
        return storm.check(ids, results)


def provider_failing(directory: Path, seed: int, jobs: int) -> Report:
    """The provider fails 30 % of its requests in every way it can."""
    with Storm("provider fails 30 %", directory, seed, retry_max=5.0, embedding_timeout=1.0).running(
        workers=2
    ) as storm:
        ids = storm.add(max(20, jobs // 25))
        kinds = ("rate_limit_ms", "server_error", "unavailable", "request_timeout", "reset", "malformed_json")
        kinds += ("truncated", "wrong_dimension", "missing_item", "nan", "bad_gateway", "rate_limit_date")
        storm.provider.faults.add(*(Fault(kind, rate=0.3 / len(kinds), retry_after=0.2) for kind in kinds))
        submitted = storm.submit_randomly(ids, jobs)
        results = storm.wait_for(submitted, 240)
        storm.report.faults = sum(request.fault is not None for request in storm.provider.requests)
        return storm.check(ids, results)


def redis_killed(directory: Path, seed: int, jobs: int) -> Report:
    """Redis itself is killed and started again on its append-only file (fsync always); clients try again."""
    with Storm("Redis killed", directory, seed).running(workers=2, appendfsync="always") as storm:
        storm.provider.latency_ms = 20
        ids = storm.add(max(20, jobs // 25))
        submitted = []
        for _ in range(3):
            submitted += storm.submit_randomly(ids, jobs // 3, rate=1_000)
            storm.kill_redis()
            storm.report.faults += 1
        results = storm.wait_for(submitted, 240)
        return storm.check(ids, results)


def one_memory_contended(directory: Path, seed: int, jobs: int) -> Report:
    """64 threads update one memory; then all of them with expected_version, of whom one may win each version."""
    with Storm("one memory, 64 threads", directory, seed).running(workers=2) as storm:
        (memory_id, *_) = ids = storm.add(20)
        each = max(1, jobs // 64)
        submitted = _in_threads(64, lambda thread: [_update(storm, memory_id, thread, n) for n in range(each)])
        results = storm.wait_for(submitted, 240)
        start = storm.client.get(memory_id).version
        rivals = _in_threads(
            64, lambda thread: [storm.client.update(memory_id, f"rival {thread}", expected_version=start)]
        )
        verdicts = storm.wait_for(rivals, 120)
        winners = sum(result.status == "succeeded" for result in verdicts)
        if winners != 1:
            storm.report.wrong += 1
            storm.report.notes.append(f"{winners} winners of version {start}")
        metadata = storm.client.get(memory_id).metadata
        missing = {f"t{thread}" for thread in range(64)} - metadata.keys()
        storm.report.lost += len(missing)
        storm.report.jobs += len(submitted) + len(rivals)
        return storm.check(ids, results + verdicts)


def update_delete_restore(directory: Path, seed: int, jobs: int) -> Report:
    """Updates, deletes and restores race on few memories: nothing comes back by itself."""
    with Storm("update, delete, restore", directory, seed).running(workers=3) as storm:
        ids = storm.add(20)
        with storm.happening(storm.kill_a_worker):
            submitted = storm.submit_randomly(ids[:5], jobs, kinds="uddrr", rate=80 if jobs < 1_000 else 150)
            results = storm.wait_for(submitted, 240)
        return storm.check(ids, results)


def poison_job(directory: Path, seed: int, jobs: int) -> Report:
    """A job that kills its worker each time ends as a dead letter; its neighbours succeed."""
    site = directory / "site"
    site.mkdir(parents=True)
    (site / "sitecustomize.py").write_text(_SITE)
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = f"{site}{os.pathsep}{before}"
    try:
        with Storm("poison job", directory, seed, lease=2.0, ring_ttl=1.0, sweep_interval=0.2).running(2) as storm:
            ids = storm.add(20)
            poison = storm.client.update(ids[0], POISON)
            submitted = storm.submit_randomly(ids, jobs, kinds="um")
            with storm.happening(storm.revive_workers, pause=(0.2, 0.4)):
                results = storm.wait_for([poison, *submitted], 240)
            storm.report.faults = storm.deaths
            verdict = poison.info()
            if verdict.status != "failed" or verdict.error["code"] != "POISON":
                storm.report.wrong += 1
                storm.report.notes.append(f"the poison job {verdict.status}")
            return storm.check(ids, results, failures=frozenset({"POISON"}))
    finally:
        os.environ["PYTHONPATH"] = before


def broker_flushed(directory: Path, seed: int, jobs: int) -> Report:
    """The broker's messages and all bells vanish again and again: every accepted job still ends."""
    with Storm("broker flushed", directory, seed).running(workers=2) as storm:
        storm.provider.latency_ms = 20
        ids = storm.add(max(20, jobs // 25))

        def flush() -> None:
            with redis.Redis.from_url(storm.settings.broker_url) as broker:
                broker.flushdb()
            for shard in range(storm.settings.inbox_shards):
                storm.client._control.delete(storm.keys.bell(shard))

        with storm.happening(flush, pause=(0.1, 0.3)):
            submitted = storm.submit_randomly(ids, jobs)
        results = storm.wait_for(submitted, 240)
        return storm.check(ids, results)


SCENARIOS: dict[str, tuple[Callable[[Path, int, int], Report], int, int]] = {
    # name: (scenario, jobs in full, jobs in the test suite)
    "workers-killed": (workers_killed, 5_000, 600),
    "provider-failing": (provider_failing, 2_000, 300),
    "redis-killed": (redis_killed, 2_000, 500),
    "one-memory": (one_memory_contended, 3_200, 640),
    "update-delete-restore": (update_delete_restore, 2_000, 400),
    "poison": (poison_job, 500, 100),
    "broker-flushed": (broker_flushed, 2_000, 400),
}


def _update(storm: Storm, memory_id: str, thread: int, number: int):
    return storm.client.update(memory_id, f"thread {thread}, update {number}", {f"t{thread}": number})


def _in_threads(count: int, work: Callable[[int], list]) -> list:
    found: list = []
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            found.extend(work(number))
        except BaseException as error:  # noqa: BLE001  # raised below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return found
