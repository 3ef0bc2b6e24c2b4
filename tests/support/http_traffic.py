"""HTTP traffic to several gateways, as a balancer passes it on: a gateway that refuses a connection is left out.

Each request has an idempotency key. A request without an answer must not have been accepted, and is sent again.
"""

from __future__ import annotations

import itertools
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Sequence
from typing import Self

import httpx2 as httpx

from emendo_client import MemoryClient
from emendo_client._sync.base import job_begun_by
from tests.support.patience import PATIENCE

MEMORIES = "/api/v1/memories"
# Seconds between two requests of a caller: the processes that start again meanwhile need the cores.
_PAUSE = 0.05


class HttpTraffic:
    """Threads that add and update memories until the block ends; a context manager.

    Args:
        urls: of the gateways.
        key: of the gateways, for the client's project.
        client: looks up what was accepted.
        threads: how many callers. Each has a memory of its own.

    Attributes:
        accepted: job ids by memory, in the order of acceptance.
        refused: requests that were answered 503 with `Retry-After`.
        unanswered: requests whose connection was refused or closed without an answer.
        problems: what must not be.
    """

    def __init__(self, urls: Sequence[str], key: str, client: MemoryClient, threads: int = 4) -> None:
        self._urls = urls
        self._key = key
        self._client = client
        self._over = threading.Event()
        self._turns = itertools.count()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]
        self.accepted: dict[str, list[str]] = defaultdict(list)
        self.refused = self.unanswered = self.answered = 0
        self.problems: list[str] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        headers = {"Authorization": f"Bearer {self._key}"}
        clients = [httpx.Client(base_url=url, headers=headers, timeout=PATIENCE) for url in self._urls]
        try:
            added = {"messages": "version 1", "user_id": "ana", "infer": False}
            job = self._send(clients, "POST", MEMORIES, added, wait=True)
            memory_id = job["results"][0]["memory_id"]
            self.accepted[memory_id].append(job["job_id"])
            for number in itertools.count(2):
                if self._over.wait(_PAUSE):
                    return
                change = {"text": f"version {number}"}
                job = self._send(clients, "PATCH", f"{MEMORIES}/{memory_id}", change, wait=bool(number % 2))
                self.accepted[memory_id].append(job["job_id"])
        except Exception as error:  # noqa: BLE001  # the test's to see
            self.problems.append(f"a caller ended: {error!r}")
        finally:
            for client in clients:
                client.close()

    def _send(self, clients: Sequence[httpx.Client], method: str, path: str, body: dict, *, wait: bool) -> dict:
        """The job that the request began; sends it again, to the next gateway, until it is accepted."""
        key, deadline = uuid.uuid4().hex, time.monotonic() + PATIENCE
        headers = {"Idempotency-Key": key, **({"Prefer": "wait=60"} if wait else {})}
        while time.monotonic() < deadline:
            client = clients[next(self._turns) % len(clients)]
            try:
                answer = client.request(method, path, json=body, headers=headers)
            except httpx.TransportError as error:
                self.unanswered += 1
                if (job_id := job_begun_by(self._client, key)) is not None:
                    self.problems.append(f"{job_id} was accepted, and its caller heard {error!r}")
                continue
            self.answered += 1
            if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE and "retry-after" in answer.headers:
                self.refused += 1
                self._over.wait(0.05)
            elif answer.is_success:
                return answer.json()
            else:
                raise AssertionError(f"{answer.status_code} {answer.text}")
        raise AssertionError("no gateway took the request")
