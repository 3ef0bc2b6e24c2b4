"""The wait of one project behind another one, and how fast delayed jobs return: `python -m tests.bench.tenants`.

It prints one line for each figure. The provider is the local stand-in, whose chat model takes half a second.
"""

from __future__ import annotations

import sys
import tempfile
import time
import uuid
from pathlib import Path

import redis

from emendo_client import Job, MemoryClient
from emendo_client.testing import OpenAIServer
from emendo_client.testing.embedded_redis import EmbeddedRedis
from emendo_client.testing.worker import WorkerProcess
from emendo_config import Keys, Settings
from tests.support.inferring import Model

THREADS = 8
CHAT_SECONDS = 0.25
FLOOD, CONVERSATIONS, DELAYED = 20_000, 200, 10_000
PATIENCE = 300.0


def main() -> None:
    """Measures all cases, each on a store of its own."""
    cases = {"batch": batches, "imported": imported, "single": singles, "delayed": delayed}
    for name in sys.argv[1:] or cases:
        with tempfile.TemporaryDirectory() as folder, OpenAIServer() as provider:
            server = EmbeddedRedis(Path(folder) / "redis")
            server.start()
            try:
                settings = Settings(
                    redis_url=server.url,
                    broker_url=f"{server.url.removesuffix('0')}1",
                    key_prefix=f"tenants-{uuid.uuid4().hex[:8]}:",
                    embedding_provider="openai",
                    embedding_base_url=provider.base_url,
                    embedding_api_key="test",
                    embedding_dimensions=64,
                    chat_base_url=provider.base_url,
                    chat_api_key="test",
                    chat_model="gpt-5-mini",
                )
                Model(provider).before = lambda stage: time.sleep(CHAT_SECONDS)
                worker = WorkerProcess(settings, Path(folder) / "worker.log", concurrency=THREADS)
                with MemoryClient(settings, project="a") as a, MemoryClient(settings, project="b") as b:
                    cases[name](a, b, worker)
            finally:
                server.kill()


def batches(a: MemoryClient, b: MemoryClient, worker: WorkerProcess) -> None:
    """B's batch of 5, alone and behind A's batch of 20,000."""
    with worker:
        few(b)
        alone = took(few(b))
        flood = a.batch_add([{"messages": f"fact {n}", "user_id": "ana"} for n in range(FLOOD)], infer=False)
        began = time.monotonic()
        print(f"batch of 5: alone {alone:.2f} s, behind {FLOOD} items {took(few(b)):.2f} s", flush=True)
        flood.wait(PATIENCE)
        print(f"the batch of {FLOOD}: {FLOOD / (time.monotonic() - began):,.0f} items/s", flush=True)


def few(client: MemoryClient) -> Job:
    """A batch of 5 adds."""
    return client.batch_add([{"messages": f"mine {n}", "user_id": "ben"} for n in range(5)], infer=False)


def imported(a: MemoryClient, b: MemoryClient, worker: WorkerProcess) -> None:
    """B's inferred add, alone and behind A's import of 200 conversations."""
    with worker:
        alone = took(b.add("I sing.", user_id="ben"))
        flood = a.batch_add([{"messages": f"I like {n}.", "user_id": f"user {n}"} for n in range(CONVERSATIONS)])
        began = time.monotonic()
        behind = took(b.add("I dance.", user_id="ben"))
        print(f"inferred add: alone {alone:.2f} s, behind {CONVERSATIONS} imported ones {behind:.2f} s", flush=True)
        flood.wait(PATIENCE)
        print(f"the import: {CONVERSATIONS / (time.monotonic() - began):,.1f} conversations/s", flush=True)


def singles(a: MemoryClient, b: MemoryClient, worker: WorkerProcess) -> None:
    """B's inferred add behind A's 200 single ones."""
    with worker:
        took(b.add("I sing.", user_id="ben"))
        flood = [a.add(f"I like {n}.", user_id=f"user {n}") for n in range(CONVERSATIONS)]
        began = time.monotonic()
        behind = took(b.add("I dance.", user_id="ben"))
        print(f"inferred add: behind {CONVERSATIONS} single ones {behind:.2f} s", flush=True)
        for job in flood:
            job.wait(PATIENCE)
        print(f"the single ones: {CONVERSATIONS / (time.monotonic() - began):,.1f} conversations/s", flush=True)


def delayed(a: MemoryClient, _: MemoryClient, worker: WorkerProcess) -> None:
    """Jobs a second after an outage: all of them wait in the delayed set and are due."""
    jobs = [a.add(f"fact {n}", user_id="ana", infer=False) for n in range(DELAYED)]
    keys = Keys(a.settings.key_prefix)
    with redis.Redis.from_url(a.settings.redis_url, protocol=2) as control:
        for raw in control.smembers(keys.shards):
            shard = raw.decode()
            entries = control.xrange(keys.inbox(shard))
            control.zadd(keys.delayed, {f"{shard}:{fields[b'job'].decode()}": 1 for _, fields in entries})
            control.delete(keys.inbox(shard), keys.wakeup(shard))
        with worker:
            while control.zcard(keys.delayed) == DELAYED:
                time.sleep(0.01)
            began = time.monotonic()
            for job in jobs:
                job.wait(PATIENCE, with_results=False)
    print(f"delayed jobs returned and done: {DELAYED / (time.monotonic() - began):,.0f}/s", flush=True)


def took(job: Job) -> float:
    """Seconds until a job that was just submitted has succeeded."""
    began = time.monotonic()
    job.wait(PATIENCE, raise_on_failure=True)
    return time.monotonic() - began


if __name__ == "__main__":
    main()
