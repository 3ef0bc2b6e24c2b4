"""Updates, measured end to end: from the first call until the last job is final. Every effect is checked afterwards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import redis

from emendo_client._async.client import AsyncMemoryClient
from emendo_client.models import JobStatus
from emendo_config.store.connections import connect
from emendo_config.store.pipeline import as_text
from emendo_ops.bench.store import MeasurementError, Store, ask

IN_FLIGHT = 64
_TIMEOUT = 600.0  # seconds for one run
_PAUSE = 0.005  # seconds between two polls: the error of a run's end
_WINDOW = 500  # jobs polled together


@dataclass(frozen=True, slots=True)
class Run:
    """One run of updates.

    Attributes:
        updates: the number of updates.
        seconds: from the first call to the end of the last job.
        latencies: each call's, in seconds; empty for a batch.
        requests: the provider's requests meanwhile; None if the provider cannot tell.
    """

    updates: int
    seconds: float
    latencies: list[float]
    requests: int | None = None

    @property
    def rate(self) -> float:
        """Updates a second."""
        return self.updates / self.seconds


def text_of(memory_id: str, tag: str) -> str:
    """An update's text: different for each tag, and about as long as a fact about a person.

    Only one word is new, because each new word costs the test provider time on the measured machine.
    """
    return f"fact {memory_id[-12:]} was corrected in {tag}; this is what the person now says about it"


def singles(store: Store, ids: Sequence[str], tag: str) -> Run:
    """One `client.update` for each memory by the asyncio client, with as many calls in flight as a busy web app has.

    Raises:
        MeasurementError: a job did not succeed or did not have its effect.
    """
    return _singles(store, ids, tag, lambda texts: asyncio.run(_at_once(store, texts)))


def one_by_one(store: Store, ids: Sequence[str], tag: str) -> Run:
    """One `client.update` for each memory, one call after the other.

    Raises:
        MeasurementError: as `singles`.
    """
    return _singles(store, ids, tag, lambda texts: _in_turn(store, texts))


def _singles(store: Store, ids: Sequence[str], tag: str, submit: Callable[[dict[str, str]], _Submitted]) -> Run:
    versions = store.versions(ids)
    texts = {memory_id: text_of(memory_id, tag) for memory_id in ids}
    requests = _requests(store)
    submitted = submit(texts)
    _wait_until_final(store, submitted.jobs)
    seconds = time.perf_counter() - submitted.began
    asked = requests()
    store.check({memory_id: (versions[memory_id] + 1, text) for memory_id, text in texts.items()})
    return Run(len(ids), seconds, submitted.latencies, asked)


@dataclass(frozen=True, slots=True)
class _Submitted:
    """Returned calls: the start of the first (`time.perf_counter`), their jobs, and their latencies in seconds."""

    began: float
    jobs: list[str]
    latencies: list[float]


async def _at_once(store: Store, texts: dict[str, str]) -> _Submitted:
    async with AsyncMemoryClient(store.settings, store.client.project) as client:
        submitted = _Submitted(time.perf_counter(), [], [])
        left = iter(texts.items())

        async def call() -> None:
            for memory_id, text in left:
                before = time.perf_counter()
                submitted.jobs.append((await client.update(memory_id, text)).id)
                submitted.latencies.append(time.perf_counter() - before)

        await asyncio.gather(*(call() for _ in range(IN_FLIGHT)))
        return submitted


def _in_turn(store: Store, texts: dict[str, str]) -> _Submitted:
    began = before = time.perf_counter()
    jobs, latencies = [], []
    for memory_id, text in texts.items():
        jobs.append(store.client.update(memory_id, text).id)
        after = time.perf_counter()
        latencies.append(after - before)
        before = after
    return _Submitted(began, jobs, latencies)


def batch(store: Store, ids: Sequence[str], tag: str) -> Run:
    """One `client.batch_update` that gives each memory a new text.

    Raises:
        MeasurementError: as `singles`.
    """
    texts = {memory_id: text_of(memory_id, tag) for memory_id in ids}
    return _batch(store, ids, [{"memory_id": memory_id, "text": text} for memory_id, text in texts.items()], texts)


def metadata_batch(store: Store, ids: Sequence[str], tag: str) -> Run:
    """One `client.batch_update` that changes a metadata key of each memory and no text.

    Raises:
        MeasurementError: as `singles`; or the provider got a request although no text changed.
    """
    run = _batch(store, ids, [{"memory_id": memory_id, "metadata": {"round": tag}} for memory_id in ids], {})
    if run.requests:
        raise MeasurementError(f"{run.requests} provider requests for metadata alone")
    return run


def _batch(store: Store, ids: Sequence[str], items: list[dict[str, object]], texts: dict[str, str]) -> Run:
    versions = store.versions(ids)
    requests = _requests(store)
    began = time.perf_counter()
    job = store.client.batch_update(items)
    status = job.wait(_TIMEOUT, with_results=False).status
    seconds = time.perf_counter() - began
    asked = requests()
    if status is not JobStatus.SUCCEEDED:
        raise MeasurementError(f"the batch ended {status}")
    store.check({memory_id: (versions[memory_id] + 1, texts.get(memory_id)) for memory_id in ids})
    return Run(len(ids), seconds, [], asked)


def _requests(store: Store) -> Callable[[], int | None]:
    """A function that counts the provider's requests from now on."""
    count = store.provider_requests
    if count is None:
        return lambda: None
    before = count()
    return lambda: count() - before


def _wait_until_final(store: Store, jobs: Sequence[str]) -> None:
    """Waits for one job after the other, since polling all of them would be load by itself.

    Raises:
        MeasurementError: a job did not succeed, or is not final in time.
    """
    control = connect(store.settings.control_url, store.settings)
    deadline = time.monotonic() + _TIMEOUT
    try:
        for first in range(0, len(jobs), _WINDOW):
            open_jobs = list(jobs[first : first + _WINDOW])
            while open_jobs := _unfinished(store, control, open_jobs):
                while _unfinished(store, control, open_jobs[-1:]):
                    if time.monotonic() > deadline:
                        raise MeasurementError(f"{len(open_jobs)} jobs have not ended after {_TIMEOUT:.0f} s")
                    time.sleep(_PAUSE)
    finally:
        control.close()


def _unfinished(store: Store, control: redis.Redis, jobs: list[str]) -> list[str]:
    statuses = ask(control, [("HGET", store.keys.job(job), "status") for job in jobs])
    left = []
    for job, status in zip(jobs, statuses, strict=True):
        found = JobStatus(as_text(status))
        if not found.is_final:
            left.append(job)
        elif found is not JobStatus.SUCCEEDED:
            raise MeasurementError(f"a job ended {found}", details={"job_id": job})
    return left
