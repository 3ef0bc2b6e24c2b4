"""The test bed of an embedded benchmark: a Redis and a provider in separate processes, and fresh stores on them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import redis

from emendo_client._sync.client import MemoryClient
from emendo_client.testing.given_redis import GivenRedis, redis_for
from emendo_client.testing.openai_server.remote import RemoteOpenAIServer, start_server_process
from emendo_client.testing.worker import WorkerProcess
from emendo_config import Settings
from emendo_config.store.connections import connect
from emendo_config.worker_process import WORKER_THREADS
from emendo_ops.bench.machine import Machine
from emendo_ops.bench.store import MeasurementError, Store

LATENCY_MS = 50.0
DIMENSIONS = 1536
_SETTLE = 120.0  # seconds


class TestBed:
    """A context manager that stops everything it started.

    Args:
        directory: holds the data and the logs; created if missing.
        latency_ms: the provider's latency for each request.
    """

    __test__ = False  # or pytest takes the class for tests

    def __init__(self, directory: Path, latency_ms: float = LATENCY_MS) -> None:
        self.directory = directory
        self.latency_ms = latency_ms
        self.redis = redis_for(directory / "redis", "bench")
        self.provider: RemoteOpenAIServer
        self._running = ExitStack()
        self._workers = 0

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        with ExitStack() as starting:
            # Registered before the start, so that an interruption meanwhile leaves no process behind.
            starting.callback(self.redis.stop)
            self.redis.start()
            self.provider = starting.enter_context(start_server_process(self.latency_ms))
            self._running = starting.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    @property
    def prefix(self) -> str:
        """Of all keys in a Redis that others use too; empty in one of this test bed's own."""
        return self.redis.prefix if isinstance(self.redis, GivenRedis) else ""

    def machine(self) -> Machine:
        """The machine, with this test bed's Redis."""
        with connect(self.redis.url, self.settings()) as connection:
            return Machine.of(connection)

    def settings(self, **more: Any) -> Settings:
        """Settings for a new store: the product's defaults and a fresh key prefix."""
        values: dict[str, Any] = {
            "redis_url": self.redis.url,
            "broker_url": "",
            "control_url": "",
            "key_prefix": f"{self.prefix}bench-{secrets.token_hex(4)}:",
            "embedding_provider": "openai",
            "embedding_base_url": self.provider.base_url,
            "embedding_api_key": "bench",
            "embedding_model": "text-embedding-3-small",
            "embedding_dimensions": DIMENSIONS,
            "task_events": True,  # the events for Flower are part of the work
            **more,
        }
        return Settings(**values)

    def wipe(self) -> None:
        """Empties this Redis, indexes included, and the provider's log, so that every contender starts alike.

        In a Redis that others use too, only what has the prefix goes.
        """
        if isinstance(self.redis, GivenRedis):
            self.redis.remove()
        else:
            with connect(self.redis.url, self.settings(redis_timeout=60.0)) as connection:
                connection.flushall()
        self.provider.clear_requests()

    def settle(self) -> None:
        """Waits until Redis has rewritten its append-only file, which filling a store triggers."""
        with connect(self.redis.url, self.settings()) as connection:
            deadline = time.monotonic() + _SETTLE
            while _rewrites(connection):
                if time.monotonic() > deadline:
                    raise MeasurementError("Redis is still rewriting its append-only file")
                time.sleep(0.05)

    @contextmanager
    def store(self, *, concurrency: int = WORKER_THREADS, **more: Any) -> Iterator[Store]:
        """A new store without memories, with one worker process.

        Args:
            concurrency: the worker's threads.
            more: settings that differ from the defaults.
        """
        settings = self.settings(**more)
        self._workers += 1
        log = self.directory / f"worker-{self._workers}.log"
        with (
            WorkerProcess(settings, log, concurrency=concurrency) as worker,
            MemoryClient(settings) as client,
            connect(settings.redis_url, settings) as data,
        ):
            yield Store(
                settings,
                client,
                data,
                [],
                provider_requests=lambda: len(self.provider.requests(texts=False)),
                latency_ms=self.latency_ms,
                worker_pid=worker.pid,
            )


def _rewrites(connection: redis.Redis) -> bool:
    state: Any = connection.info("persistence")
    return bool(state["aof_rewrite_in_progress"] or state["aof_rewrite_scheduled"])
