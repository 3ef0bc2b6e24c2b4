"""Traffic: random requests from a seed, and the list of what was asked, for the invariants to be checked against."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from emendo_client import Job, MemoryClient
from emendo_client.errors import NetworkError
from tests.support.patience import LONG_PATIENCE, PATIENCE


@dataclass(frozen=True, slots=True)
class Ask:
    """One item of a request."""

    op: str
    memory_id: str
    text: str | None = None
    metadata: dict[str, Any] | None = None
    hard: bool = False
    version: int | None = None
    expected_version: int | None = None


@dataclass(frozen=True, slots=True)
class Submission:
    """One accepted job and what it was asked for, item by item."""

    job_id: str
    asks: tuple[Ask, ...]


@dataclass(frozen=True, slots=True)
class Uncertain:
    """A request without an idempotency key that the network failed: it was accepted, or it was not."""

    asks: tuple[Ask, ...]


class Traffic:
    """The requests made so far; thread-safe.

    Args:
        client: whose requests these are.
        seed: of the requests.
        first: number of the first text; two clients must not tell the same one.
    """

    def __init__(self, client: MemoryClient, seed: int, first: int = 1) -> None:
        self.client = client
        self.submissions: list[Submission] = []
        self.uncertain: list[Uncertain] = []
        self.failures = 0
        self._seed = seed
        self._lock = threading.Lock()
        self._texts = itertools.count(first)
        self._streams = itertools.count()

    def add(self, count: int, timeout: float = LONG_PATIENCE) -> list[str]:
        """So many new memories, twenty to a job, when they are there."""
        with self._lock:
            texts = [f"fact {next(self._texts)}" for _ in range(count)]
        jobs = []
        for start in range(0, count, 20):
            part = texts[start : start + 20]
            jobs.append(
                (part, self.client.add([{"role": "user", "content": text} for text in part], "ana", infer=False))
            )
        ids = []
        for part, job in jobs:
            made = [item.memory_id for item in job.wait(timeout, raise_on_failure=True).results]
            self.note(job, *(Ask("add", memory_id, text=text) for memory_id, text in zip(made, part, strict=True)))
            ids += made
        return ids

    def note(self, job: Job, *asks: Ask) -> None:
        """Puts a job that was accepted on the list."""
        with self._lock:
            self.submissions.append(Submission(job.id, asks))

    def update(self, memory_id: str, text: str | None = None, metadata: dict[str, Any] | None = None, **more) -> Job:
        job = self.client.update(memory_id, text, metadata, **more)
        expected = more.get("expected_version")
        self.note(job, Ask("update", memory_id, text, metadata, expected_version=expected))
        return job

    def flow(
        self,
        ids: Sequence[str],
        count: int,
        kinds: str,
        *,
        rate: float = 200.0,
        batch: tuple[int, int] = (20, 60),
        doomed: Sequence[str] = (),
        persistent: bool = False,
    ) -> None:
        """Submits `count` random requests, about `rate` a second, so that disasters strike while jobs are on their way.

        Args:
            ids: of the memories.
            kinds: characters to draw from. u, m, b update text, metadata, both. d deletes, r restores, v restores to
                version 1. U, D are batches of updates, deletes; W is a batch of updates of texts.
            batch: fewest and most items of a batch.
            doomed: ids that a delete erases, now and then.
            persistent: try again under an idempotency key when the network fails. Half of the updates that set only
                texts have no key, and are tried once.
        """
        with self._lock:
            rng = random.Random(f"{self._seed}/{next(self._streams)}")
        pace = threading.Event()
        for _ in range(count):
            pace.wait(1 / rate)
            asks, send = self._request(rng, rng.choice(kinds), ids, batch, frozenset(doomed))
            if not persistent:
                self.note(send(None), *asks)
            elif all(ask.text and not ask.metadata for ask in asks) and rng.random() < 0.5:
                self.send_once(asks, send)
            else:
                self._send_until_accepted(asks, send, f"key {rng.getrandbits(64):x}")

    def send_once(self, asks: tuple[Ask, ...], send: Callable[[str | None], Job]) -> None:
        """Sends a request without an idempotency key; whether one that fails was accepted is found out later."""
        try:
            self.note(send(None), *asks)
        except NetworkError:
            with self._lock:
                self.failures += 1
                self.uncertain.append(Uncertain(asks))

    def _send_until_accepted(self, asks: tuple[Ask, ...], send: Callable[[str | None], Job], key: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return self.note(send(key), *asks)
            except NetworkError:
                with self._lock:
                    self.failures += 1
                if time.monotonic() > deadline:
                    raise
                threading.Event().wait(0.05)

    def _request(
        self, rng: random.Random, kind: str, ids: Sequence[str], batch: tuple[int, int], doomed: frozenset[str]
    ) -> tuple[tuple[Ask, ...], Callable[[str | None], Job]]:
        client, memory_id = self.client, rng.choice(ids)
        if kind in "UW":
            within = "umb" if kind == "U" else "u"
            asks = tuple(self._update(rng, rng.choice(within), rng.choice(ids)) for _ in range(rng.randint(*batch)))
            items = [{"memory_id": ask.memory_id, "text": ask.text, "metadata": ask.metadata} for ask in asks]
            return asks, lambda key: client.batch_update(items, idempotency_key=key)
        if kind == "D":
            chosen = [rng.choice(ids) for _ in range(rng.randint(*batch))]
            asks = tuple(Ask("delete", each, hard=each in doomed and rng.random() < 0.02) for each in chosen)
            items = [{"memory_id": ask.memory_id, "hard": ask.hard} for ask in asks]
            return asks, lambda key: client.batch_delete(items, idempotency_key=key)
        if kind == "d":
            hard = memory_id in doomed and rng.random() < 0.1
            ask = Ask("delete", memory_id, hard=hard)
            return (ask,), lambda key: client.delete(memory_id, hard=hard, idempotency_key=key)
        if kind in "rv":
            version = 1 if kind == "v" else None
            ask = Ask("restore", memory_id, version=version)
            return (ask,), lambda key: client.restore(memory_id, version, idempotency_key=key)
        ask = self._update(rng, kind, memory_id)
        return (ask,), lambda key: client.update(memory_id, ask.text, ask.metadata, idempotency_key=key)

    def _update(self, rng: random.Random, kind: str, memory_id: str) -> Ask:
        with self._lock:
            number = next(self._texts)
        text = f"text {number} of {memory_id}" if kind in "ub" else None
        metadata = {rng.choice("abc"): number if rng.random() < 0.9 else None} if kind in "mb" else None
        return Ask("update", memory_id, text, metadata)
