"""A storm: real workers, a real Redis, a provider that can fail, and the means to kill, freeze and rob them."""

from __future__ import annotations

import math
import os
import random
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import redis

from emendo_client import MemoryClient
from emendo_client.testing import OpenAIServer
from emendo_client.testing.embedded_redis import EmbeddedRedis
from emendo_client.testing.worker import WorkerProcess
from emendo_config import Keys, Settings
from tests.chaos.invariants import FINAL, Invariants, Pardon, Report, left_over
from tests.chaos.traffic import Submission, Traffic
from tests.support.patience import LONG_PATIENCE

# A scenario strikes once for so many of its jobs, at most.
JOBS_A_DISASTER = 40.0


def nobody(*_: object) -> bool:
    """Pardons no failure."""
    return False


class DataServers(Protocol):
    """Several servers with the memories; one is the master."""

    @property
    def url(self) -> str: ...

    def start(self) -> None: ...

    def kill(self) -> None: ...


class Storm:
    """A stack of its own for one scenario, with the product's default settings but for those given."""

    def __init__(self, scenario: str, directory: Path, seed: int, **settings) -> None:
        self.report = Report(scenario, seed)
        self.random = random.Random(seed)
        self.directory = directory
        self.deaths = 0
        self.may_die = False
        self._more_settings = settings
        self._workers: list[WorkerProcess] = []
        self._worker_lock = threading.Lock()

    @contextmanager
    def running(
        self,
        workers: int,
        *,
        own_broker: bool = False,
        appendfsync: str = "everysec",
        data: DataServers | None = None,
    ) -> Iterator[Storm]:
        """Runs the stack; with `data` the memories are there, and everything about jobs is on a Redis of its own."""
        with ExitStack() as stack:
            # The end of a process is registered before its start: a harness stopped meanwhile leaves nothing behind.
            self.redis = self._start_redis(stack, "redis", appendfsync)
            self.broker = self._start_redis(stack, "broker", "everysec") if own_broker else self.redis
            if data is not None:
                stack.callback(data.kill)
                together([data.start], undo=data.kill)
            self.provider = stack.enter_context(OpenAIServer(seed=self.report.seed))
            self.settings = Settings(
                redis_url=self.redis.url if data is None else data.url,
                control_url=self.redis.url,
                broker_url=f"{self.broker.url.removesuffix('0')}1",
                key_prefix=f"chaos-{uuid.uuid4().hex[:8]}:",
                embedding_provider="openai",
                embedding_base_url=self.provider.base_url,
                embedding_api_key="test",
                embedding_dimensions=64,
                **self._more_settings,
            )
            self.keys = Keys(self.settings.key_prefix)
            self._workers = [WorkerProcess(self.settings, self.directory / f"worker-{n}.log") for n in range(workers)]
            stack.callback(self._end_workers)
            self._start_workers(self._workers)
            self.client = stack.enter_context(MemoryClient(self.settings))
            self.traffic = Traffic(self.client, self.report.seed)
            yield self

    def _start_redis(self, stack: ExitStack, name: str, appendfsync: str) -> EmbeddedRedis:
        server = EmbeddedRedis(self.directory / name, appendfsync=appendfsync)
        stack.callback(server.kill)  # a frozen one would not hear a friendlier signal
        together([server.start], undo=server.kill)
        return server

    def _start_workers(self, workers: Sequence[WorkerProcess]) -> None:
        def undo() -> None:
            for worker in workers:
                worker.kill()

        together([worker.start for worker in workers], undo=undo)

    def join(self, workers: Sequence[WorkerProcess]) -> None:
        """Starts further workers, of any release."""
        with self._worker_lock:
            self._workers += workers
            self._start_workers(workers)

    def leave(self, workers: Sequence[WorkerProcess], how: Callable[[WorkerProcess], None]) -> None:
        """Stops or kills workers for good."""
        with self._worker_lock:
            self._workers = [worker for worker in self._workers if worker not in workers]
        together([lambda worker=worker: how(worker) for worker in workers])

    def _end_workers(self) -> None:
        with self._worker_lock:
            for worker in self._workers:
                worker.kill()

    # Disasters.

    @contextmanager
    def happening(
        self, disaster: Callable[[], None], pause: tuple[float, float] = (1.0, 2.0), most: float = math.inf
    ) -> Iterator[None]:
        """Repeats a disaster at random times while the block runs; an error in it is the scenario's.

        Args:
            disaster: strikes once.
            pause: the shortest and the longest time between two of them, in seconds.
            most: how often it strikes. Without a bound, a block that waits for its jobs might never end on a machine
                that recovers more slowly than disasters follow each other.
        """
        over = threading.Event()
        errors: list[BaseException] = []

        def strike() -> None:
            left = most
            while left >= 1 and not over.wait(self.random.uniform(*pause)):
                left -= 1
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
        """SIGKILL, and a new one in its place."""
        with self._worker_lock:
            worker = self.random.choice(self._workers)
            worker.kill()
            worker.start()

    def revive_workers(self) -> None:
        """Starts workers that died by themselves again, as a supervisor would."""
        with self._worker_lock:
            dead = [worker for worker in self._workers if not worker.is_alive]
            self.deaths += len(dead)
            self._start_workers(dead)

    @contextmanager
    def workers_frozen(self) -> Iterator[None]:
        """SIGSTOP to all workers while the block runs."""
        for worker in self._workers:
            os.kill(worker.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for worker in self._workers:
                os.kill(worker.pid, signal.SIGCONT)

    def kill_redis(self) -> None:
        """SIGKILL, a moment of absence, and back on its append-only file."""
        self.redis.kill()
        threading.Event().wait(self.random.uniform(0.1, 0.5))
        self.redis.start()

    def flush_broker(self) -> None:
        """The broker forgets every message, and every wake-up key is gone.

        Never on the data's own server: there FLUSHDB drops the search index, whichever database it is said to.
        """
        with redis.Redis.from_url(self.settings.broker_url) as broker:
            broker.flushdb()
        with self.raw() as control:
            control.delete(*(self.keys.wakeup(shard.decode()) for shard in control.smembers(self.keys.shards)))

    def raw(self) -> redis.Redis:
        """A plain connection to the control Redis, which has the memories too in most scenarios."""
        return redis.Redis.from_url(self.settings.control_url, protocol=2)

    # The end.

    def wait(self, submissions: Sequence[Submission] | None = None, max_wait: float = LONG_PATIENCE) -> None:
        """Waits until the jobs are final and nothing is left over; the invariants find what is not in time.

        A final job may be left over for a moment. If two workers did its work, one may have delayed it before the
        other one ended it.
        """
        waiting = [each.job_id for each in (self.traffic.submissions if submissions is None else submissions)]
        deadline = time.monotonic() + max_wait
        with self.raw() as control:
            while (waiting := self._unfinished(control, waiting)) or left_over(control, self.keys):
                if time.monotonic() > deadline:
                    return
                threading.Event().wait(0.05)

    def _unfinished(self, control: redis.Redis, job_ids: list[str]) -> list[str]:
        pipeline = control.pipeline(transaction=False)
        for job_id in job_ids:
            pipeline.hget(self.keys.job(job_id), "status")
        statuses = pipeline.execute(raise_on_error=False)  # a damaged record may be no hash
        over = {None, *(status.encode() for status in FINAL)}
        return [job_id for job_id, status in zip(job_ids, statuses, strict=True) if status not in over]

    def check(self, pardon: Pardon = nobody, invariants: Callable[..., Invariants] = Invariants) -> Report:
        """Waits for all jobs, and checks the invariants."""
        self.wait()
        self.revive_workers()  # none may have died by itself, unless it was to
        if self.deaths and not self.may_die:
            self.report.blame("wrong", f"{self.deaths} workers died by themselves")
        self.report.jobs = len(self.traffic.submissions)
        return invariants(self.client, self.report, pardon).check(self.traffic.submissions)


def freeze(server: EmbeddedRedis) -> None:
    """SIGSTOP: the server still accepts connections, and does not answer."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)


def thaw(server: EmbeddedRedis) -> None:
    """SIGCONT."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGCONT)


def together(tasks: Sequence[Callable[[], object]], undo: Callable[[], object] | None = None) -> None:
    """Runs the tasks in a thread each, and raises the first error.

    Args:
        undo: called again and again, until all threads have ended, when the harness is stopped meanwhile. A process
            that a thread is just starting is nobody's yet, and one call could miss it.
    """
    errors: list[BaseException] = []

    def run(task: Callable[[], object]) -> None:
        try:
            task()
        except BaseException as error:  # noqa: BLE001  # raised below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(task,), daemon=True) for task in tasks]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:
        for thread in threads:
            while undo is not None and thread.is_alive():
                undo()
                thread.join(0.02)
        raise
    if errors:
        raise errors[0]
