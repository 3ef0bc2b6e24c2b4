"""The scenario of a failover by real sentinels: the master is killed under load, and comes back as a replica.

Nobody tells clients and workers of the new master: the sentinels elect it, and name it when they are asked.
"""

from __future__ import annotations

import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import redis

from tests.chaos.failover import SETTINGS, Survivors, strong_flow
from tests.chaos.invariants import Report
from tests.chaos.storm import Storm, together
from tests.support.sentinels import Sentinels

# A failover takes the sentinels seconds, and they begin the next one ten seconds later at the earliest.
JOBS_A_FAILOVER = 125.0


def sentinel_failover(directory: Path, seed: int, jobs: int) -> Report:
    """A master, a replica, three sentinels; strong and eventual jobs flow while the master is killed."""
    data = _Data(directory)
    settings = SETTINGS | {"max_attempts": 200}  # an election takes longer
    with Storm("sentinel-failover", directory, seed, **settings).running(workers=2, data=data) as storm:
        storm.provider.latency_ms, storm.provider.jitter_ms = 10, 200
        ids = storm.traffic.add(max(40, jobs // 25))
        shared, doomed = ids[:12], ids[12:]
        storm.wait()
        data.wait_for_replica()
        windows: list[tuple[int, int]] = []
        strong: set[str] = set()
        over = threading.Event()

        def fail_over() -> None:
            for _ in range(max(1, round(jobs / JOBS_A_FAILOVER))):
                windows.append(data.fail_over())
                storm.report.faults += 1
            over.set()

        def flow() -> None:
            while not over.is_set():
                storm.traffic.flow(shared, 10, "uuumbU", rate=20, batch=(5, 20))

        together([fail_over, flow, lambda: strong_flow(storm, shared, doomed, jobs // 2, strong)], undo=over.set)
        storm.wait()
        return storm.check(invariants=partial(_BehindSentinels, data, windows, strong))


class _Data:
    """The servers of the memories, as a storm wants them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "sentinels"
        self._servers = Sentinels(self._directory)

    @property
    def url(self) -> str:
        return self._servers.url

    def start(self) -> None:
        self._directory.mkdir()
        self._servers.__enter__()

    def kill(self) -> None:
        self._servers.__exit__()

    def wait_for_replica(self) -> None:
        """Waits until the replica has all that was written so far."""
        with self.connect() as master:
            master.set("a write of this connection", 1)
            assert master.wait(1, 60_000) == 1
            master.delete("a write of this connection")

    def fail_over(self) -> tuple[int, int]:
        """Kills the master; beginning and end of the time in which there was none (microseconds)."""
        began = time.time_ns() // 1_000
        self._servers.fail_over()
        return began, time.time_ns() // 1_000

    def connect(self, **more: Any) -> redis.Redis:
        (port,) = self._servers.masters()
        return redis.Redis(port=port, **more)


class _BehindSentinels(Survivors):
    def __init__(self, data: _Data, *more: Any) -> None:
        self._data = data
        super().__init__(*more)

    def _connect_to_data(self) -> redis.Redis:
        return self._data.connect(protocol=2)
