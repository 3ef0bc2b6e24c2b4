"""The shipped provider stand-in speaks the real protocol, as the real openai client sees it."""

from __future__ import annotations

import array
import time
import urllib.error
import urllib.request

import openai
import pytest

from emendo_client.embeddings import create_embedder
from emendo_client.embeddings.base import MALFORMED
from emendo_client.errors import (
    AuthenticationError,
    EmbeddingError,
    NetworkError,
    QuotaExceededError,
    RateLimitError,
)
from emendo_client.testing import Fault, OpenAIServer, start_server_process
from emendo_client.testing.faults import KINDS
from emendo_client.testing.vectors import embed
from emendo_config import Settings


@pytest.fixture
def server():
    with OpenAIServer() as started:
        yield started


@pytest.fixture
def api(server):
    with openai.OpenAI(base_url=server.base_url, api_key="test", max_retries=0, timeout=2) as client:
        yield client


@pytest.fixture
def embedder(server):
    settings = Settings(embedding_base_url=server.base_url, embedding_dimensions=64, embedding_timeout=1.0)
    made = create_embedder(settings)
    yield made
    made.close()


def vectors(api, texts, **more):
    answer = api.embeddings.create(model="text-embedding-3-small", input=texts, dimensions=64, **more)
    return [item.embedding for item in answer.data]


def similarity(one: bytes, other: bytes) -> float:
    return sum(a * b for a, b in zip(array.array("f", one), array.array("f", other), strict=True))


def test_lists_and_base64_say_the_same(api):
    (plain,) = vectors(api, ["hello"], encoding_format="float")
    assert array.array("f", plain).tobytes() == embed("hello", model="text-embedding-3-small", dimensions=64)
    assert vectors(api, "hello")[0] == pytest.approx(plain)


def test_equal_texts_are_equal_and_related_ones_near():
    sushi = embed("I enjoy seafood, especially sushi", dimensions=256)
    assert sushi == embed("I enjoy seafood, especially sushi", dimensions=256)
    assert similarity(sushi, sushi) == pytest.approx(1, abs=1e-5)
    assert similarity(sushi, embed("do I enjoy sushi", dimensions=256)) > 0.4
    assert similarity(sushi, embed("the violin concert was long", dimensions=256)) < 0.3
    assert similarity(embed("我喜欢绿茶", dimensions=256), embed("我每天喝绿茶", dimensions=256)) > 0.2


def test_usage_and_models_are_answered(api):
    answer = api.embeddings.create(model="m", input=["four" * 10, "x"], dimensions=8)
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == 11
    assert [model.id for model in api.models.list()] == ["text-embedding-3-small"]


@pytest.mark.parametrize("bad", [[], "", ["a", ""], ["a"] * 2_049, ["x" * 40_000]])
def test_what_the_provider_would_refuse_is_refused(api, bad):
    with pytest.raises(openai.BadRequestError):
        vectors(api, bad)


def test_a_wrong_key_is_refused():
    with (
        OpenAIServer(api_key="right") as server,
        openai.OpenAI(base_url=server.base_url, api_key="wrong", max_retries=0) as api,
        pytest.raises(openai.AuthenticationError),
    ):
        vectors(api, ["a"])


FAULTS = {
    "rate_limit": (RateLimitError, "RATE_LIMIT"),
    "rate_limit_date": (RateLimitError, "RATE_LIMIT"),
    "rate_limit_ms": (RateLimitError, "RATE_LIMIT"),
    "quota": (QuotaExceededError, "QUOTA_EXCEEDED"),
    "server_error": (NetworkError, "PROVIDER_FAILING"),
    "bad_gateway": (NetworkError, "PROVIDER_FAILING"),
    "unavailable": (NetworkError, "PROVIDER_FAILING"),
    "request_timeout": (NetworkError, "PROVIDER_FAILING"),
    "bad_request": (EmbeddingError, "EMBEDDING"),
    "unauthorized": (AuthenticationError, "AUTHENTICATION"),
    "timeout": (NetworkError, "PROVIDER_TIMEOUT"),
    "reset": (NetworkError, "PROVIDER_UNREACHABLE"),
    "malformed_json": (EmbeddingError, MALFORMED),
    "truncated": (NetworkError, "PROVIDER_UNREACHABLE"),
    "wrong_dimension": (EmbeddingError, MALFORMED),
    "missing_item": (EmbeddingError, MALFORMED),
    "nan": (EmbeddingError, MALFORMED),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_fault_is_seen_through_the_real_client_as_one_of_our_errors(server, embedder, kind):
    expected, code = FAULTS[kind]
    server.faults.add(Fault(kind, retry_after=20))
    with pytest.raises(expected) as failure:
        embedder.embed(["a", "b"])
    assert (type(failure.value), failure.value.error_code) == (expected, code)
    if isinstance(failure.value, RateLimitError) and kind != "quota":
        assert 18 <= failure.value.retry_after <= 20
    assert embedder.embed(["a", "b"]).vectors[1] == embed("b", model="text-embedding-3-small", dimensions=64)
    assert [request.fault for request in server.requests] == [kind, None]


async def test_the_async_embedder_sees_the_same(server, embedder):
    server.faults.add(Fault("unavailable"))
    with pytest.raises(NetworkError):
        await embedder.embed_async(["a"])
    assert (await embedder.embed_async(["a"])).vectors == embedder.embed(["a"]).vectors


def test_faults_can_be_aimed_and_repeat_by_seed(server, api):
    server.faults.add(Fault("bad_request", match="poison", times=1))
    assert len(vectors(api, ["fine"])) == 1
    with pytest.raises(openai.BadRequestError):
        vectors(api, ["fine", "poison"])
    server.faults.clear()
    server.faults.add(Fault("server_error", rate=0.5))
    strikes = [server.faults.strike("embeddings", []) is not None for _ in range(50)]
    server.faults.clear()
    server.faults.add(Fault("server_error", rate=0.5))
    assert strikes == [server.faults.strike("embeddings", []) is not None for _ in range(50)]
    assert 10 < sum(strikes) < 40
    with pytest.raises(ValueError, match="unknown fault"):
        Fault("earthquake")


def test_chat_answers_are_scripted(server, api):
    def ask() -> str:
        answer = api.chat.completions.create(model="m", messages=[{"role": "user", "content": "hello"}])
        return answer.choices[0].message.content

    server.script("first", "second")
    assert [ask(), ask()] == ["first", "second"]
    with pytest.raises(openai.InternalServerError, match="no chat answer is scripted"):
        ask()
    server.answer_chat_with(lambda request: request["messages"][0]["content"].upper())
    assert ask() == "HELLO"


def test_latency_is_kept(server, api):
    server.latency_ms = 120
    began = time.monotonic()
    vectors(api, ["a"])
    assert time.monotonic() - began >= 0.12


def test_a_server_in_its_own_process_is_steered_from_here():
    with start_server_process() as remote:
        with openai.OpenAI(base_url=remote.base_url, api_key="x", max_retries=0) as api:
            remote.add_faults(Fault("unavailable"))
            with pytest.raises(openai.InternalServerError):
                vectors(api, ["a"])
            remote.set_latency(1)
            vectors(api, ["a"])
            remote.script("hello")
            assert api.chat.completions.create(model="m", messages=[]).choices[0].message.content == "hello"
        assert [(request["endpoint"], request["status"]) for request in remote.requests()] == [
            ("embeddings", 503),
            ("embeddings", 200),
            ("chat", 200),
        ]
        remote.clear_requests()
        remote.clear_faults()
        assert remote.requests() == []
    with pytest.raises(urllib.error.URLError):
        remote.requests()
