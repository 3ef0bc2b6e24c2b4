"""The demo's second part: single updates from one client process through one worker process."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from emendo_client import JobStatus, MemoryClient
from emendo_client.demo.checks import Checks
from emendo_client.local.embedded_redis import EmbeddedRedis
from emendo_client.testing.remote import start_server_process
from emendo_client.testing.worker import WorkerProcess
from emendo_config import Settings

LATENCY_MS = 50.0
MEMORIES = 500
_PER_ADD = 50
_WAIT = 120.0


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of the throughput."""

    updates: int
    seconds: float
    enqueue_p50_ms: float
    provider_requests: int

    def __str__(self) -> str:
        return (
            f"throughput: {self.updates:,} single updates in {self.seconds:.2f} s = "
            f"{self.updates / self.seconds:,.0f} updates/s · enqueue p50 {self.enqueue_p50_ms:.2f} ms · "
            f"{self.provider_requests} provider requests (one worker process, provider at {LATENCY_MS:.0f} ms)"
        )


def measure(directory: Path, updates: int, checks: Checks) -> Reading:
    """Runs `updates` calls of `client.update` over MEMORIES memories, end to end, and checks each one's effect."""
    with EmbeddedRedis(directory / "redis") as redis, start_server_process(LATENCY_MS) as provider:
        settings = Settings(
            redis_url=redis.url,
            broker_url="",
            control_url="",
            key_prefix="emendo:",
            embedding_provider="openai",
            embedding_base_url=provider.base_url,
            embedding_api_key="demo",
            embedding_model="text-embedding-3-small",
            embedding_dimensions=1536,
        )
        with WorkerProcess(settings, directory / "worker.log", concurrency=8), MemoryClient(settings) as client:
            ids = _fill(client)
            provider.clear_requests()
            latencies, jobs, texts = [], [], {}
            began = time.perf_counter()
            for number in range(updates):
                memory_id = ids[number % len(ids)]
                texts[memory_id] = f"fact {memory_id[:8]} was corrected by update {number}"
                before = time.perf_counter()
                jobs.append(client.update(memory_id, texts[memory_id]))
                latencies.append(time.perf_counter() - before)
            states = [job.wait(_WAIT).status for job in jobs]
            seconds = time.perf_counter() - began
            requests = len(provider.requests())
            _check(client, states, texts, updates, checks)
    return Reading(updates, seconds, statistics.median(latencies) * 1000, requests)


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


def _check(client: MemoryClient, states: list[JobStatus], texts: dict[str, str], updates: int, checks: Checks) -> None:
    checks.that(states.count(JobStatus.SUCCEEDED) == updates, f"all {updates} updates succeeded")
    entries = 0
    gaps = disagreements = 0
    for memory_id, text in texts.items():
        history = client.history(memory_id)
        entries += len(history) - 1
        gaps += [entry.version for entry in history] != list(range(1, len(history) + 1))
        disagreements += not (client.get(memory_id).memory == history[-1].new_memory == text)
    checks.that(entries == updates, f"each update has one history entry ({entries} of {updates})")
    checks.that(gaps == 0, f"versions have no gaps ({gaps} memories have)")
    checks.that(disagreements == 0, f"each memory has its newest text ({disagreements} have not)")
