"""The rate-limit headers as they come through the real openai client, from answers and from refusals."""

from __future__ import annotations

import pytest

from emendo_client.errors import RateLimitError
from emendo_client.providers.embeddings import create_embedder
from emendo_client.rate_limits import RateLimitState
from emendo_client.testing import Fault, OpenAIServer, RateLimits
from emendo_config import Settings


@pytest.fixture
def server():
    with OpenAIServer(rate_limits=RateLimits(requests=100, tokens=5_000)) as started:
        yield started


@pytest.fixture
def embedder(server):
    settings = Settings(embedding_base_url=server.base_url, embedding_dimensions=8, embedding_timeout=5.0)
    made = create_embedder(settings)
    yield made
    made.close()


def test_an_answer_says_what_is_left(embedder):
    embedder.embed(["four" * 10])
    answer = embedder.embed(["four" * 10, "x"])
    assert answer.tokens == 11
    requests, tokens = answer.rate_limits.requests, answer.rate_limits.tokens
    assert (requests.limit, requests.remaining) == (100, 98)
    assert (tokens.limit, tokens.remaining) == (5_000, 5_000 - 10 - 11)
    assert 0 < requests.reset <= 60
    assert 0 < tokens.reset <= 60


async def test_the_async_embedder_says_the_same(embedder):
    answer = await embedder.embed_async(["x"])
    assert answer.rate_limits.requests.limit == 100
    assert answer.rate_limits.tokens.remaining == 4_999
    await embedder.close_async()


def test_a_refusal_says_it_too(server, embedder):
    server.faults.add(Fault("rate_limit", retry_after=7))
    with pytest.raises(RateLimitError) as refused:
        embedder.embed(["x"])
    assert refused.value.retry_after == 7
    assert refused.value.rate_limits.requests.limit == 100
    assert refused.value.rate_limits.requests.remaining == 99


def test_a_server_without_such_headers_says_nothing(server, embedder):
    server.rate_limits = None
    assert embedder.embed(["x"]).rate_limits == RateLimitState()
