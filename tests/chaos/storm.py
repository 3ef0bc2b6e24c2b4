"""A storm: real workers, real Redis, a failing provider, things being killed; and the books checked afterwards."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from emendo_client import Job, JobResult, JobStatus, MemoryClient
from emendo_client.local.embedded_redis import EmbeddedRedis
from emendo_client.testing import OpenAIServer
from emendo_client.testing.fixtures import settings_for
from emendo_client.testing.vectors import embed
from emendo_client.testing.worker import WorkerProcess
from emendo_config import Keys, Settings

ALLOWED_FAILURES = {"MEMORY_NOT_FOUND", "VERSION_MISMATCH", "NO_SUCH_VERSION"}


@dataclass(slots=True)
class Report:
    """One scenario's row; the last four columns must be zero."""

    scenario: str
    seed: int
    jobs: int = 0
    faults: int = 0
    lost: int = 0
    duplicated: int = 0
    gaps: int = 0
    wrong: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.lost or self.duplicated or self.gaps or self.wrong)

    def row(self) -> tuple[str, ...]:
        numbers = (self.jobs, self.faults, self.lost, self.duplicated, self.gaps, self.wrong)
        return (self.scenario, *map(str, numbers), str(self.seed), "; ".join(self.notes[:3]))


class Storm:
    """A stack of its own for one scenario."""

    def __init__(self, scenario: str, directory: Path, seed: int, **settings) -> None:
        self.report = Report(scenario, seed)
        self.random = random.Random(seed)
        self.directory = directory
        self._more_settings = settings
        self._workers: list[WorkerProcess] = []
        self._worker_lock = threading.Lock()
        self.deaths = 0

    @contextmanager
    def running(self, workers: int, appendfsync: str = "everysec") -> Iterator[Storm]:
        with ExitStack() as stack:
            self.redis = stack.enter_context(EmbeddedRedis(self.directory / "redis", appendfsync=appendfsync))
            self.provider = stack.enter_context(OpenAIServer(seed=self.report.seed))
            self.settings: Settings = settings_for(
                self.redis.url,
                self.provider.base_url,
                **{"lease": 8.0, "ring_ttl": 5.0, "sweep_interval": 1.0, "max_attempts": 30, **self._more_settings},
            )
            self.keys = Keys(self.settings.key_prefix)
            stack.callback(self._stop_workers)
            for number in range(workers):
                worker = WorkerProcess(self.settings, self.directory / f"worker-{number}.log")
                self._workers.append(worker.start())
            self.client = stack.enter_context(MemoryClient(self.settings))
            yield self

    def add(self, count: int) -> list[str]:
        jobs = [
            self.client.add([{"role": "user", "content": f"fact {start + n}"} for n in range(20)], "ana", infer=False)
            for start in range(0, count, 20)
        ]
        self.report.jobs += len(jobs)
        return [item.memory_id for job in jobs for item in job.wait(120, raise_on_failure=True).results]

    def submit_randomly(self, ids: list[str], count: int, kinds: str = "uuuuumdr", rate: float = 200.0) -> list[Job]:
        """Random updates of text (u) and metadata (m), deletes (d) and restores (r), about `rate` a second."""
        jobs = []
        pace = threading.Event()
        for number in range(count):
            pace.wait(1 / rate)  # so that disasters strike while jobs are on their way
            memory_id, kind = self.random.choice(ids), self.random.choice(kinds)
            if kind == "u":
                job = self.client.update(memory_id, f"text {number} of {memory_id}")
            elif kind == "m":
                job = self.client.update(memory_id, metadata={self.random.choice("abc"): number})
            else:
                job = self.client.delete(memory_id) if kind == "d" else self.client.restore(memory_id)
            jobs.append(job)
        self.report.jobs += count
        return jobs

    @contextmanager
    def happening(self, disaster: Callable[[], None], pause: tuple[float, float] = (1.0, 2.0)) -> Iterator[None]:
        """Repeats a disaster at random times while the block runs; an error in it is the scenario's."""
        over = threading.Event()
        errors: list[BaseException] = []

        def strike() -> None:
            while not over.wait(self.random.uniform(*pause)):
                try:
                    disaster()
                except BaseException as error:  # noqa: BLE001  # raised below
                    errors.append(error)
                    return
                self.report.faults += 1

        thread = threading.Thread(target=strike)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        if errors:
            raise errors[0]

    def kill_a_worker(self) -> None:
        with self._worker_lock:
            worker = self.random.choice(self._workers)
            worker.kill()
            worker.start()

    def revive_workers(self) -> None:
        """Starts workers that died by themselves again, as a supervisor would."""
        with self._worker_lock:
            for worker in self._workers:
                if not worker.is_alive:
                    self.deaths += 1
                    worker.start()

    def kill_redis(self) -> None:
        self.redis.kill()
        self.redis.start()

    def wait_for(self, jobs: list[Job], timeout: float) -> list[JobResult]:
        """Each job's result; one that is not final in time counts as lost."""
        deadline = time.monotonic() + timeout
        results = []
        for job in jobs:
            while True:
                info = job.info()
                if info.status.is_final:
                    results.append(info)
                    break
                if time.monotonic() > deadline:
                    self.report.lost += 1
                    self.report.notes.append(f"{job.id} is {info.status}")
                    break
                threading.Event().wait(0.05)
        return results

    def check(self, ids: list[str], results: list[JobResult], *, failures: frozenset[str] | None = None) -> Report:
        """The books: every job has its effect once, versions have no gaps, memory, vector and history agree."""
        report, entries = self.report, Counter()
        allowed = ALLOWED_FAILURES if failures is None else failures
        for memory_id in ids:
            history = self.client.history(memory_id)
            if [entry.version for entry in history] != list(range(1, len(history) + 1)):
                report.gaps += 1
                report.notes.append(f"gaps in {memory_id}")
            entries.update((memory_id, entry.job_id) for entry in history)
            self._check_memory(memory_id, history)
        report.duplicated += sum(count > 1 for count in entries.values())
        for result in results:
            self._check_result(result, entries, allowed)
        return report

    def _check_memory(self, memory_id: str, history: list) -> None:
        memory = self.client.get(memory_id, include_deleted=True)
        applied = [entry for entry in history if entry.event != "SUPERSEDED"]
        newest = applied[-1]
        vector = self.client._data.hget(self.keys.memory(memory_id), self.settings.space.field)
        settings = self.settings
        right = embed(memory.memory, model=settings.embedding_model, dimensions=settings.embedding_dimensions)
        agrees = memory.is_deleted == newest.is_deleted and memory.version == history[-1].version and vector == right
        if not newest.is_deleted:
            agrees = agrees and (memory.memory, memory.metadata) == (newest.new_memory, newest.new_metadata)
        texts = {entry.new_memory for entry in history}
        if not agrees or memory.memory not in texts:
            self.report.wrong += 1
            self.report.notes.append(f"{memory_id} disagrees with its history")

    def _check_result(self, result: JobResult, entries: Counter, allowed: frozenset[str] | set[str]) -> None:
        for item in result.results:
            has_entry = entries[item.memory_id, result.job_id] > 0
            if (item.error is None) != has_entry:
                self.report.lost += 1
                self.report.notes.append(f"{result.job_id} says {result.status}, history says {has_entry}")
        if result.status == JobStatus.FAILED and result.error["code"] not in allowed:
            self.report.wrong += 1
            self.report.notes.append(f"{result.job_id} failed with {result.error['code']}")

    def _stop_workers(self) -> None:
        with self._worker_lock:
            for worker in self._workers:
                worker.stop()
