"""The demo's second part: single updates from one client process through one worker process."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from emendo_client import JobStatus, MemoryClient
from emendo_client.testing.given_redis import redis_for
from emendo_client.testing.openai_server.remote import start_server_process
from emendo_client.testing.worker import WorkerProcess
from emendo_config import Settings
from emendo_ops.demo.checks import Checks

LATENCY_MS = 50.0
MEMORIES = 500
_PER_ADD = 50
_WAIT = 120.0
_SHOWN = 100  # updates between two notes of how far the measurement is: they take time of it


@dataclass(frozen=True, slots=True)
class ThroughputSample:
    """One measurement of the throughput."""

    updates: int
    seconds: float
    enqueue_p50_ms: float
    provider_requests: int

    @property
    def rate(self) -> float:
        """Updates per second, from the first submission to the last job's end."""
        return self.updates / self.seconds

    def __str__(self) -> str:
        return (
            f"throughput: {self.updates:,} single updates in {self.seconds:.2f} s = "
            f"{self.rate:,.0f} updates/s end to end · enqueue p50 {self.enqueue_p50_ms:.2f} ms · "
            f"{self.provider_requests} provider requests · "
            f"one worker process, provider at {LATENCY_MS:.0f} ms"
        )


def measure(
    directory: Path, updates: int, checks: Checks, on_progress: Callable[[int, int], None], *, keep: bool = False
) -> ThroughputSample:
    """Runs `updates` calls of `client.update` over MEMORIES memories, end to end, and checks each one's effect.

    Args:
        directory: holds the data and the worker's log; created if missing.
        updates: the number of calls.
        checks: receives the claims.
        on_progress: called with how many of how many updates are submitted and ended; each counts twice.
        keep: leave the keys in a Redis that was not started here.
    """
    directory.mkdir(exist_ok=True)
    with ExitStack() as running:
        # Each stop is registered before its start, so that an interruption meanwhile leaves no process behind.
        redis = redis_for(directory / "redis", "demo", keep=keep)
        running.callback(redis.stop)
        redis.start()
        provider = running.enter_context(start_server_process(LATENCY_MS))
        settings = Settings(
            redis_url=redis.url,
            broker_url="",
            control_url="",
            key_prefix=redis.prefix,
            embedding_provider="openai",
            embedding_base_url=provider.base_url,
            embedding_api_key="demo",
            embedding_model="text-embedding-3-small",
            embedding_dimensions=1536,
        )
        worker = WorkerProcess(settings, directory / "worker.log", concurrency=8)
        running.push(partial(_end, worker))
        worker.start()
        client = running.enter_context(MemoryClient(settings))
        ids = _fill(client)
        provider.clear_requests()
        return _update(client, ids, updates, checks, on_progress, lambda: len(provider.requests(texts=False)))


def _end(worker: WorkerProcess, failure: type[BaseException] | None, *_: object) -> None:
    """Stops the worker; kills it after Ctrl-C, since a worker whose Redis has ended would wait for it to return."""
    if failure is None:
        worker.stop()
    else:
        worker.kill()


def _update(  # noqa: PLR0917  # one measurement, and where its numbers go
    client: MemoryClient,
    ids: list[str],
    updates: int,
    checks: Checks,
    on_progress: Callable[[int, int], None],
    provider_requests: Callable[[], int],
) -> ThroughputSample:
    """The measured updates, and the claims about their effects."""
    latencies, jobs = [], []
    newest: dict[str, str] = {}
    submitted: Counter[str] = Counter()
    began = time.perf_counter()
    for number in range(updates):
        memory_id = ids[number % len(ids)]
        newest[memory_id] = f"fact {memory_id[:8]} was corrected by update {number}"
        submitted[memory_id] += 1
        before = time.perf_counter()
        jobs.append(client.update(memory_id, newest[memory_id]))
        latencies.append(time.perf_counter() - before)
        if number % _SHOWN == 0:
            on_progress(number, 2 * updates)
    states = list[JobStatus]()
    for job in jobs:
        states.append(job.wait(_WAIT).status)
        if len(states) % _SHOWN == 0:
            on_progress(updates + len(states), 2 * updates)
    seconds = time.perf_counter() - began
    requests = provider_requests()
    checks.that(states.count(JobStatus.SUCCEEDED) == updates, f"all {updates} updates succeeded")
    _check(client, newest, submitted, checks)
    return ThroughputSample(updates, seconds, statistics.median(latencies) * 1000, requests)


def _fill(client: MemoryClient) -> list[str]:
    adds = [
        client.add(
            [{"role": "user", "content": f"fact {start + number} as it was"} for number in range(_PER_ADD)],
            user_id=f"user-{start // _PER_ADD}",
            infer=False,
        )
        for start in range(0, MEMORIES, _PER_ADD)
    ]
    return [item.memory_id for job in adds for item in job.wait(_WAIT, raise_on_failure=True).results]


def _check(client: MemoryClient, newest: dict[str, str], submitted: Counter[str], checks: Checks) -> None:
    miscounted = gaps = stale = 0
    for memory_id, text in newest.items():
        history, memory = client.history(memory_id), client.get(memory_id)
        versions = [entry.version for entry in history]
        # Counted for each memory, because in a total a doubled update could hide a lost one.
        miscounted += len(history) != 1 + submitted[memory_id]
        gaps += versions != list(range(1, len(history) + 1)) or memory.version != len(history)
        stale += not (memory.memory == history[-1].new_memory == text)
    checks.that(miscounted == 0, f"each update has one history entry ({miscounted} memories have more or fewer)")
    checks.that(gaps == 0, f"versions are 1 to n, and the memory has the n-th ({gaps} memories differ)")
    checks.that(stale == 0, f"each memory has its newest text ({stale} have not)")
