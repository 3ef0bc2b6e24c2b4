"""The scenario of a full Redis: it reaches its limit under load, stays there for a while, and gets room again.

Requests are refused from the watermark on. At the limit erasures and purges are accepted and carried out, and jobs that
need memory wait. When there is room again, all of them end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import redis

from emendo_client.errors import VectorStoreError
from emendo_config.store.memory_use import MemoryUse
from tests.chaos.invariants import Report
from tests.chaos.storm import Storm, together
from tests.chaos.traffic import Ask
from tests.support.patience import PATIENCE

# Below what any Redis uses: nothing that takes memory runs.
NO_ROOM = 1_000_000
# The share of the limit that is used when Redis gets one; the watermark is a little above.
NEARLY_FULL = 0.9
# Jobs between two times without room; characters of a text, so that they fill Redis within seconds.
JOBS_BETWEEN, LONG = 100, 4_000
# Memories that are erased, and purged, each time.
ERASED, PURGED = 3, 3


def full_redis(directory: Path, seed: int, jobs: int) -> Report:
    """Redis reaches its watermark under load, then its limit; erasures and purges go on, and all else afterwards."""
    with Storm("full-redis", directory, seed, sweep_interval=0.2).running(workers=2) as storm:
        rounds = max(1, jobs // JOBS_BETWEEN)
        ids = storm.traffic.add(20 + rounds * (ERASED + PURGED))
        load, doomed = _Load(storm, ids[:20]), ids[20:]

        def fill() -> None:
            try:
                for number in range(rounds):
                    # Also after the last limit: until a worker has looked, the store still counts as full.
                    wanted = max((number + 1) * JOBS_BETWEEN, load.accepted + 20)
                    _until(storm, lambda until=wanted: load.accepted >= until, "requests succeed")
                    _fill_once(storm, load, [doomed.pop() for _ in range(ERASED + PURGED)])
                    storm.report.faults += 1
            finally:
                load.stop()

        together([load.run, fill])
        storm.report.notes.append(f"{load.refused} calls were refused")
        return storm.check()


class _Load:
    """Updates one after another; those that Redis has no memory for are refused, counted, and not repeated.

    Args:
        storm: whose traffic it is.
        ids: of the memories to be updated.
    """

    def __init__(self, storm: Storm, ids: list[str]) -> None:
        self.accepted = self.refused = 0
        self._storm = storm
        self._ids = ids
        self._stopped = threading.Event()

    def run(self) -> None:
        """Goes on until it is stopped."""
        number = 0
        while not self._stopped.wait(1 / 100):
            number += 1
            try:
                self._request(number)
            except VectorStoreError as error:
                if error.error_code != "OUT_OF_MEMORY":
                    raise
                self.refused += 1
            else:
                self.accepted += 1

    def stop(self) -> None:
        """Makes the request under way the last one."""
        self._stopped.set()

    def _request(self, number: int) -> None:
        text = f"{number} {'x' * LONG}"
        if number % 5:
            self._storm.traffic.update(self._ids[number % len(self._ids)], text, {"n": number})
            return
        asks = [Ask("update", each, f"{each} {text}") for each in self._storm.random.sample(self._ids, 4)]
        job = self._storm.client.batch_update([{"memory_id": ask.memory_id, "text": ask.text} for ask in asks])
        self._storm.traffic.note(job, *asks)


def _fill_once(storm: Storm, load: _Load, doomed: list[str]) -> None:
    """To the watermark, to the limit, and back."""
    traffic, client = storm.traffic, storm.client
    erased, purged = doomed[:ERASED], doomed[ERASED:]
    for memory_id in purged:
        job = client.delete(memory_id)
        traffic.note(job, Ask("delete", memory_id))
        job.wait(PATIENCE)
    refused = load.refused
    with _limited(storm) as connection:
        _until(storm, lambda: load.refused > refused, "a call is refused at the watermark")
        connection.config_set("maxmemory", NO_ROOM)
        erasures = [client.delete(memory_id, hard=True) for memory_id in erased]
        for job, memory_id in zip(erasures, erased, strict=True):
            traffic.note(job, Ask("delete", memory_id, hard=True))
        purge = client.purge(datetime.now(UTC) + timedelta(minutes=1))
        assert purge is not None
        freeing = [*erasures, purge]
        _until(storm, lambda: {job.status() for job in freeing} == {"succeeded"}, "erasures end at the limit")
    traffic.note(purge, *(Ask("delete", item.memory_id, hard=True) for item in purge.wait(PATIENCE).results))


@contextmanager
def _limited(storm: Storm) -> Iterator[redis.Redis]:
    """Gives Redis a limit that the load reaches soon; yields a connection that may change it."""
    with storm.raw() as connection:
        used = MemoryUse.read(connection.info("memory")).used
        connection.config_set("maxmemory", int(used / NEARLY_FULL))
        try:
            yield connection
        finally:
            connection.config_set("maxmemory", 0)


def _until(storm: Storm, is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > deadline:
            return storm.report.blame("wrong", f"not in time: {what}")
        time.sleep(0.02)
    return None
