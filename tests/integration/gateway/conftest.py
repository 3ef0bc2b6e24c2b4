"""Gateways for tests: one for the whole session beside the session's worker, and others as a test wants them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import ExitStack
from typing import Any

import httpx2 as httpx
import pytest

from tests.support.gateway import RunningGateway


@pytest.fixture(scope="session")
def gateway(emendo_worker) -> Iterator[RunningGateway]:
    """A gateway beside the session's worker. Each test takes a tenant of its own."""
    with RunningGateway(emendo_worker) as running:
        yield running


@pytest.fixture
def tenant(gateway, openai_server) -> Iterator[httpx.Client]:
    """A client with an admin key for a project of this test only."""
    with gateway.tenant() as client:
        yield client


@pytest.fixture
def start_gateway(emendo_settings) -> Iterator[Callable[..., RunningGateway]]:
    """Starts a gateway with settings of its own, over a store of this test only, without a worker."""
    with ExitStack() as running:
        yield lambda **own: running.enter_context(RunningGateway(emendo_settings, **own))


def problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    """The problem that an answer tells; fails if it is another one, or not told as RFC 9457 says."""
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert {"type", "title", "status", "detail", "code", "request_id"} <= document.keys()
    assert (document["status"], document["type"]) == (status, f"/errors/{code}")
    assert document["request_id"] == answer.headers["x-request-id"]
    return document


def hold_a_wait(http: httpx.Client, url: str, pool: Executor) -> tuple[Future[httpx.Response], httpx.Response]:
    """Waits for a job that nobody works, until a second wait of the same client is refused.

    Returns:
        The wait, which goes on in the pool, and the refusal.
    """

    def wait() -> httpx.Response:
        answer = http.get(url, headers={"Prefer": "wait=60"})
        return wait() if answer.status_code == 503 else answer  # a look below was in its place

    waiting = pool.submit(wait)
    refused = http.get(url, headers={"Prefer": "wait=0"})
    while refused.status_code == 200:  # the other request is not there yet
        assert not waiting.done()
        refused = http.get(url, headers={"Prefer": "wait=0"})
    return waiting, refused
