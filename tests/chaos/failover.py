"""The scenario of a failover: the data Redis is replaced by a replica again and again, under strong and eventual jobs.

No strong change may be lost. An eventual one may be, if its job was worked while the old master was cut off.
"""

from __future__ import annotations

import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import redis

from emendo_client import Job
from emendo_client.exchanges import accept
from emendo_client.testing import Fault
from tests.chaos.invariants import Invariants, Report
from tests.chaos.replicated_redis import ReplicatedRedis
from tests.chaos.storm import JOBS_A_DISASTER, Storm, together
from tests.chaos.traffic import Ask, Submission
from tests.support.patience import PATIENCE

# Seconds that the old master goes on without its replicas.
APART = 0.3
# Seconds that the provider holds a change back.
HELD = 2.0
# Microseconds by which the end of an attempt may come after its last write.
SLACK = 1_000_000


# A strong change waits for one replica, and is tried again until a master has one.
SETTINGS = {
    "strong_replicas": 1,
    "strong_timeout": 1.0,
    "max_attempts": 50,
    "retry_base": 0.2,
    "retry_max": 2.0,
    "lease": 2.0,
    "sweep_interval": 0.2,
}


def failover(directory: Path, seed: int, jobs: int) -> Report:
    """A master and two replicas; strong jobs wait for one of them; every 1-2 s a replica becomes the master."""
    data = ReplicatedRedis(directory)
    with Storm("failover", directory, seed, **SETTINGS).running(workers=2, data=data) as storm:
        storm.provider.latency_ms, storm.provider.jitter_ms = 10, 300  # many changes are decided when it happens
        ids = storm.traffic.add(max(40, jobs // 25))
        shared, forked, doomed = ids[:8], ids[8], ids[9:]
        storm.wait()
        threading.Event().wait(1.0)  # the replicas have it
        windows: list[tuple[int, int]] = []
        strong: set[str] = set()
        fork = _Fork(storm, forked)

        def fail_over() -> None:
            fork.settle()
            windows.append(data.fail_over(APART, before=fork.before, after=fork.after))

        with storm.happening(fail_over, most=jobs / JOBS_A_DISASTER):
            together(
                [
                    lambda: storm.traffic.flow(shared, jobs // 2, "uuumbU", rate=60, batch=(5, 20)),
                    lambda: strong_flow(storm, shared, doomed, jobs // 2, strong),
                ]
            )
        storm.wait()
        return storm.check(invariants=partial(Survivors, windows, strong))


class _Fork:
    """One version number for two states, and a change that is decided on the lost one and committed on the other.

    A commit that compares the number alone mixes the two.
    """

    def __init__(self, storm: Storm, memory_id: str) -> None:
        self._storm = storm
        self._memory_id = memory_id
        self._number = 0
        self._pending: list[Job] = []

    def settle(self) -> None:
        """Waits until nothing works on the memory."""
        for job in self._pending:
            job.wait(PATIENCE)
        self._pending = []

    def before(self) -> None:
        """A version that will be lost, and a change that rests on it and stands still at the provider."""
        self._number += 1
        self._storm.traffic.update(self._memory_id, metadata={"fork": self._number}).wait(PATIENCE)
        text = f"fork {self._number}"
        self._storm.provider.faults.add(Fault("timeout", match=text, silence=HELD))
        self._pending.append(self._storm.traffic.update(self._memory_id, text))
        lock = self._storm.keys.lock(self._memory_id)
        deadline = time.monotonic() + PATIENCE
        with redis.Redis.from_url(self._storm.settings.redis_url) as connection:
            while not connection.exists(lock) and time.monotonic() < deadline:
                time.sleep(0.005)

    def after(self) -> None:
        """Another version of the same number, by a batch: the memory's own shard is busy."""
        ask = Ask("update", self._memory_id, metadata={"fork": -self._number})
        job = self._storm.client.batch_update([{"memory_id": ask.memory_id, "metadata": ask.metadata}])
        self._storm.traffic.note(job, ask)
        self._pending.append(job)


def strong_flow(storm: Storm, shared: list[str], doomed: list[str], count: int, strong: set[str]) -> None:
    """Strong updates of memories that eventual jobs change too, and strong erasures."""
    waiting = list(doomed)
    for number in range(count):
        threading.Event().wait(1 / 60)
        operations = storm.client._operations
        if number % 8 == 0 and waiting:
            ask = Ask("delete", waiting.pop(), hard=True)
            documents = operations.delete(ask.memory_id, hard=True)
        else:
            memory_id = storm.random.choice(shared)
            ask = Ask("update", memory_id, f"strong {number} of {memory_id}", {f"s{number % 5}": number})
            documents = operations.update(memory_id, ask.text, ask.metadata)
        request = storm.client._requests.request(documents, consistency="strong")
        job_id, shards = storm.client._run(accept.accept(storm.settings, storm.client._keys, request))
        storm.client._notify(shards)
        strong.add(job_id)
        storm.traffic.note(Job(storm.client, job_id), ask)


class Survivors(Invariants):
    """The invariants for what survived: eventual changes are left out that a failover may have taken."""

    def __init__(self, windows: list[tuple[int, int]], strong: set[str], *more: Any) -> None:
        super().__init__(*more)
        self._windows = windows
        self._strong = strong

    def check(self, submissions: list[Submission]) -> Report:
        self._taken: set[tuple[str, int, str]] = set()
        report = super().check(submissions)
        report.notes.append(f"{len(self._taken)} eventual changes lost, each in one of {len(self._windows)} failovers")
        return report

    def _note_item(self, job_id: str, ask: Ask, submitted: int, item: dict[str, Any]) -> None:
        eventual = bool(item.get("event")) and job_id not in self._strong
        if eventual and self._is_lost(job_id, ask, item) and self._was_cut_off(job_id):
            self._taken.add((ask.memory_id, int(item["version"]), job_id))
        else:
            super()._note_item(job_id, ask, submitted, item)

    def _is_lost(self, job_id: str, ask: Ask, item: dict[str, Any]) -> bool:
        entry_id = f"{item['version']}-0"
        found = self._redis.xrange(self._keys.history(ask.memory_id), entry_id, entry_id)
        return not found or found[0][1].get(b"job_id") != job_id.encode()

    def _was_cut_off(self, job_id: str) -> bool:
        """True when an attempt at the job, or at a chunk of it, was under way during a failover."""
        record = self._hash(self._keys.job(job_id))
        records = [record]
        if "chunks" in record:
            records = [self._hash(self._keys.job(f"{job_id}:{n}")) for n in range(int(record["chunks"]))]
        return any(
            int(each["started"]) <= ended + SLACK and int(each["finished"]) >= began - SLACK
            for each in records
            for began, ended in self._windows
        )

    def _is_forgiven(self, change: dict[bytes, bytes]) -> bool:
        told = change[b"memory_id"].decode(), int(change[b"version"]), change[b"job_id"].decode()
        return told in self._taken
