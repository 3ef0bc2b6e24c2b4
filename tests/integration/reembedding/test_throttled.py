"""A re-embedding at a provider that limits and refuses it keeps to its share. It ends, and delays nobody."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from emendo_client import Job, MemoryClient
from emendo_client.testing import Fault
from emendo_client.testing.openai_server.rate_limits import RateLimits
from emendo_client.testing.openai_server.request_log import Request
from emendo_client.testing.openai_server.server import OpenAIServer
from emendo_client.testing.worker import WorkerProcess
from emendo_workers.providers.rate_limiter import BURST
from emendo_workers.services import Services
from tests.support.intake import account_of, drain_all
from tests.support.migrating import active_space
from tests.support.patience import LONG_PATIENCE, PATIENCE
from tests.support.spaces import assert_right

# Per minute. A full request of the re-embedding has about TOKENS / REQUESTS tokens: it is near both limits at once.
REQUESTS, TOKENS = 1_800, 129_600
SHARE = 0.1
TEXTS_A_REQUEST = 4
DIMENSIONS = 96
FACTS = [f"fact {number:03} is written down at such length that it costs some tokens more" for number in range(128)]
# No request with this text is answered until the changes are done: the re-embedding cannot end before.
STUCK = FACTS[-1]
PACED = {
    "embedding_requests_per_minute": REQUESTS,
    "embedding_tokens_per_minute": TOKENS,
    "embedding_max_inputs": TEXTS_A_REQUEST,
    "maintenance_share": SHARE,
    "chunk_items": 2 * TEXTS_A_REQUEST,
    "retry_max": 1.0,
    # However often it is refused, and however slow the machine: what is tried again is tried for that reason only.
    "max_attempts": 1_000,
    "embedding_timeout": 60.0,
    "lease": 30.0,
}


@pytest.mark.slow
def test_a_throttled_reembedding_keeps_to_its_share_ends_and_holds_nobody_up(
    services, client, openai_server, settings, tmp_path
):
    ids = filled(services, client)
    old = active_space(services)
    openai_server.clear_requests()
    openai_server.rate_limits = RateLimits(REQUESTS, TOKENS)
    openai_server.faults.add(
        Fault("rate_limit_ms", times=3, retry_after=1.2, match="fact"),  # too long for a retry within the attempt
        Fault("unavailable", rate=1.0, match=STUCK),
    )
    began = time.time()
    with WorkerProcess(settings.model_copy(update=PACED), tmp_path / "worker.log"):
        job = client.reembed(dimensions=DIMENSIONS)
        until(services, job, lambda: came_back(of_the_reembedding(openai_server), refusals=3))
        ids.append(worked_at_once(client, client.add("news of another fact", user_id="ana", infer=False)))
        for number in range(0, 50, 10):
            worked_at_once(client, client.update(ids[number], f"news of fact {number}"))
        # More often than within one attempt: its chunk was put aside, too.
        until(services, job, lambda: failures_of(openai_server, STUCK) > 1 + settings.embedding_quick_retries)
        assert not job.status().is_final
        assert client.migration().phase in ("backfill", "catching_up")

        openai_server.faults.clear()
        assert job.wait(LONG_PATIENCE).status == "succeeded"

    state = client.migration()
    assert (state.phase, state.failed, state.failures) == ("switched", 0, {})
    assert account_of(services, job)["failed"] == 0, "a chunk gave up"
    new = active_space(services)
    assert new.space.dimensions == DIMENSIONS
    for memory_id in ids:
        assert_right(services, memory_id, old, new)
    assert_within_share(of_the_reembedding(openai_server), began)


def filled(services: Services, client: MemoryClient) -> list[str]:
    """A memory for each fact, made without any limit."""
    job = client.batch_add([{"messages": text, "user_id": "ana"} for text in FACTS], infer=False)
    drain_all(services)
    assert job.wait(1, with_results=False).status == "succeeded"
    return [item.memory_id for item in job.results()]


def until(services: Services, job: Job, reached: Callable[[], bool]) -> None:
    """Waits for what must come to pass before the job ends, and before any of its chunks gives up."""
    deadline = time.monotonic() + PATIENCE
    while not reached():
        assert not job.status().is_final, job.info()
        assert account_of(services, job)["failed"] == 0, "a chunk gave up"
        assert time.monotonic() < deadline, "it never came to pass"
        time.sleep(0.01)


def worked_at_once(client: MemoryClient, job: Job) -> str:
    """The memory it changed, without ever having been put aside until its turn at the provider."""
    result = job.wait(PATIENCE)
    assert result.status == "succeeded", result
    # To wait for a turn is not counted as an attempt, but the last attempt began later than the first then.
    first, last = client._connections.control.hmget(client._keys.job(job.id), "started", "began")
    assert first == last, "it had to wait for its turn"
    return result.results[0].memory_id


def of_the_reembedding(server: OpenAIServer) -> list[Request]:
    """Its requests, oldest first: nobody else wants what was written before in the new space."""
    return [
        request
        for request in sorted(server.requests, key=lambda each: each.time)
        if request.body["dimensions"] == DIMENSIONS and not set(request.inputs).isdisjoint(FACTS)
    ]


def came_back(requests: list[Request], refusals: int) -> bool:
    """Whether so many were refused, and their texts sent again: then nobody pauses for a refusal any more."""
    refused = [place for place, request in enumerate(requests) if request.status == 429]
    again = [
        any(not set(other.inputs).isdisjoint(requests[place].inputs) for other in requests[place + 1 :])
        for place in refused
    ]
    return len(refused) == refusals and all(again)


def failures_of(server: OpenAIServer, text: str) -> int:
    return sum(request.status == 503 and text in request.inputs for request in of_the_reembedding(server))


def assert_within_share(requests: list[Request], began: float) -> None:
    """At no moment had it made more requests, or spent more tokens, than its share of the limits had brought.

    The bucket lets a call go when it holds one unit, and a call is seen after its turn. The calls before it and the
    unit are no more than the bucket held at first and received since the beginning.
    """
    tokens = largest = 0
    for count, request in enumerate(requests, 1):
        brought = SHARE * (request.time - began + BURST) / 60
        tokens, largest = tokens + request.tokens, max(largest, request.tokens)
        assert count <= brought * REQUESTS, f"request {count} of at most {brought * REQUESTS:.1f}"
        assert tokens - largest <= brought * TOKENS, f"{tokens - largest} of at most {brought * TOKENS:.1f} tokens"
