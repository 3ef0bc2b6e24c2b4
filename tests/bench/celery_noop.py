"""The Celery baseline: one worker process of no-op tasks on the same broker, and a client that sends them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import redis

from emendo_config.store.connections import connect
from emendo_config.worker_process import WORKER_THREADS
from emendo_ops.bench.testbed import TestBed
from tests.bench import noop_app

_WAIT = 600
_WARM_UP = 64


class NoopWorker:
    """A Celery worker process with the pool and concurrency of ours; a context manager."""

    def __init__(self, bed: TestBed) -> None:
        settings = bed.settings()
        self._log = bed.directory / "noop.log"
        self._environment = {
            **os.environ,
            "NOOP_BROKER": settings.broker_url,
            "NOOP_REDIS": settings.redis_url,
            "NOOP_PREFIX": bed.prefix,
        }
        self._redis = connect(settings.redis_url, bed.settings(redis_timeout=60.0))
        self._app = noop_app.make(settings.broker_url, bed.prefix)
        self._sent = 0
        self._done = f"{bed.prefix}{noop_app.DONE}"

    def __enter__(self) -> Self:
        command = [
            *(sys.executable, "-m", "celery", "-A", "noop_app", "worker", "--pool", "threads"),
            *("--concurrency", str(WORKER_THREADS), "--without-gossip", "--without-mingle", "--without-heartbeat"),
        ]
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                command, cwd=Path(__file__).parent, env=self._environment, stdout=output, stderr=subprocess.STDOUT
            )
        self.run(_WARM_UP)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._app.close()
        self._redis.close()

    def run(self, count: int) -> tuple[float, list[float]]:
        """Sends the tasks one after the other; seconds until all have run, and each call's latency in seconds."""
        self._sent += count
        latencies = []
        began = before = time.perf_counter()
        for _ in range(count):
            self._app.send_task("noop", args=(self._sent,), ignore_result=True)
            after = time.perf_counter()
            latencies.append(after - before)
            before = after
        self._wait()
        return time.perf_counter() - began, latencies

    def _wait(self) -> None:
        deadline = time.monotonic() + _WAIT
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                done = self._redis.blpop([self._done], timeout=2)
            except redis.TimeoutError:
                continue
            if done is not None:
                assert int(done[1]) == self._sent
                return
        raise RuntimeError(f"the no-op worker did not finish:\n{self._log.read_text()[-2_000:]}")
