"""Every fault of the stand-in, as the real openai client and our embedder see it."""

from __future__ import annotations

import json

import openai
import pytest

from emendo_client.errors import (
    AuthenticationError,
    EmbeddingError,
    NetworkError,
    QuotaExceededError,
    RateLimitError,
)
from emendo_client.providers.embeddings import create_embedder
from emendo_client.testing import Fault
from emendo_client.testing.openai_server.faults import KINDS, Faults
from emendo_client.testing.openai_server.vectors import embed
from emendo_config import Settings
from emendo_config.error_codes import ErrorCode
from tests.support.patience import until

HELLO = [{"role": "user", "content": "hello"}]
OF_VECTORS = {"wrong_dimension", "missing_item", "nan", "infinite", "zero", "null", "empty", "repeated_index"}


@pytest.fixture
def embedder(server):
    settings = Settings(embedding_base_url=server.base_url, embedding_dimensions=64, embedding_timeout=1.0)
    made = create_embedder(settings)
    yield made
    made.close()


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
    "malformed_json": (EmbeddingError, ErrorCode.EMBEDDING_MALFORMED),
    "truncated": (NetworkError, "PROVIDER_UNREACHABLE"),
    "hidden_error": (NetworkError, "PROVIDER_FAILING"),
    "wrong_dimension": (EmbeddingError, ErrorCode.EMBEDDING_MALFORMED),
    "missing_item": (EmbeddingError, ErrorCode.EMBEDDING_MALFORMED),
    "nan": (EmbeddingError, ErrorCode.EMBEDDING_MALFORMED),
    "infinite": (EmbeddingError, ErrorCode.EMBEDDING_MALFORMED),
    "zero": (EmbeddingError, ErrorCode.EMBEDDING_MALFORMED),
    "null": (EmbeddingError, ErrorCode.EMBEDDING_MALFORMED),
    "empty": (EmbeddingError, ErrorCode.EMBEDDING_MALFORMED),
    "repeated_index": (EmbeddingError, ErrorCode.EMBEDDING_MALFORMED),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_fault_is_seen_through_the_real_client_as_one_of_our_errors(server, embedder, kind):
    expected, code = FAULTS[kind]
    times = 2 if kind == "missing_item" else 1  # without any vector, lists are asked for
    server.faults.add(Fault(kind, times=times, retry_after=20))
    texts = ["a"] if kind in OF_VECTORS - {"missing_item"} else ["a", "b"]
    with pytest.raises(expected) as failure:
        embedder.embed(["a"] if kind == "missing_item" else texts)
    assert (type(failure.value), failure.value.error_code) == (expected, code)
    if isinstance(failure.value, RateLimitError) and kind != "quota":
        assert 18 <= failure.value.retry_after <= 20
    assert embedder.embed(["a", "b"]).vectors[1] == embed("b", model="text-embedding-3-small", dimensions=64)
    assert [request.fault for request in server.requests] == [*[kind] * times, None]


async def test_the_async_embedder_sees_the_same(server, embedder):
    server.faults.add(Fault("unavailable"))
    with pytest.raises(NetworkError):
        await embedder.embed_async(["a"])
    assert (await embedder.embed_async(["a"])).vectors == embedder.embed(["a"]).vectors
    await embedder.close_async()


# Errors of the openai client itself; `json` errors pass through it unchanged.
RAISED = {
    "rate_limit": openai.RateLimitError,
    "rate_limit_date": openai.RateLimitError,
    "rate_limit_ms": openai.RateLimitError,
    "quota": openai.RateLimitError,
    "server_error": openai.InternalServerError,
    "bad_gateway": openai.InternalServerError,
    "unavailable": openai.InternalServerError,
    "request_timeout": openai.APIStatusError,
    "bad_request": openai.BadRequestError,
    "unauthorized": openai.AuthenticationError,
    "timeout": openai.APITimeoutError,
    "reset": openai.APIConnectionError,
    "malformed_json": json.JSONDecodeError,
    "truncated": openai.APIConnectionError,
}


@pytest.mark.parametrize("kind", RAISED)
async def test_a_fault_takes_the_place_of_a_chat_answer_and_uses_up_none(server, api, async_api, kind):
    server.faults.add(Fault(kind, times=2))
    server.script("first", "second")
    with pytest.raises(RAISED[kind]) as failure:
        api.with_options(timeout=0.5).chat.completions.create(model="m", messages=HELLO)
    with pytest.raises(RAISED[kind]) as failure_async:
        await async_api.with_options(timeout=0.5).chat.completions.create(model="m", messages=HELLO)
    assert type(failure.value) is type(failure_async.value)
    assert isinstance(failure.value, openai.APITimeoutError) == (kind == "timeout")
    said = [api.chat.completions.create(model="m", messages=HELLO).choices[0].message.content for _ in range(2)]
    assert said == ["first", "second"]


def test_every_fault_is_of_chat_or_of_vectors():
    # The openai client does not see an error with 200.
    assert set(RAISED) | OF_VECTORS | {"hidden_error"} == set(FAULTS) == set(KINDS)


@pytest.mark.parametrize("kind", sorted(OF_VECTORS))
def test_faults_of_vectors_leave_chat_alone(server, api, kind):
    server.faults.add(Fault(kind))
    server.script("said")
    assert api.chat.completions.create(model="m", messages=HELLO).choices[0].message.content == "said"


@pytest.mark.parametrize(
    ("kind", "status", "cause"),
    [("timeout", 0, "ReadTimeout"), ("reset", 0, "ReadError"), ("truncated", 200, "Remote")],
)
def test_a_connection_that_fails_is_logged_with_what_was_sent(server, api, kind, status, cause):
    server.faults.add(Fault(kind))
    with pytest.raises(openai.APIConnectionError) as failure:
        api.with_options(timeout=0.5).embeddings.create(model="m", input="a", dimensions=8)
    assert type(failure.value.__cause__).__name__.startswith(cause)
    assert [(request.status, request.fault) for request in server.requests] == [(status, kind)]


def test_a_reset_is_no_accident_of_the_server(server, api, capfd):
    server.faults.add(Fault("reset"))
    with pytest.raises(openai.APIConnectionError, match="Connection error"):
        api.embeddings.create(model="m", input="a", dimensions=8)
    until(lambda: not server._http._connections, "the connection's thread is still there")
    assert capfd.readouterr().err == ""


def test_a_silent_server_hangs_up_in_the_end(server, api):
    server.faults.add(Fault("timeout", silence=0.05))
    with pytest.raises(openai.APIConnectionError) as failure:
        api.with_options(timeout=30).embeddings.create(model="m", input="a", dimensions=8)
    assert not isinstance(failure.value, openai.APITimeoutError)


@pytest.mark.parametrize("kind", ["rate_limit", "unavailable"])
def test_the_clients_own_retry_gets_past_a_fault(server, api, kind):
    server.faults.add(Fault(kind, retry_after=0.01))
    patient = api.with_options(max_retries=1)
    assert len(patient.embeddings.create(model="m", input="a", dimensions=8).data) == 1
    assert [request.fault for request in server.requests] == [kind, None]


def test_faults_can_be_aimed(server, api):
    server.faults.add(Fault("bad_request", match="poison"), Fault("server_error", endpoint="chat"))
    assert len(api.embeddings.create(model="m", input="fine", dimensions=8).data) == 1
    with pytest.raises(openai.BadRequestError):
        api.embeddings.create(model="m", input=["fine", "poison"], dimensions=8)
    with pytest.raises(openai.InternalServerError, match="fault: server_error"):
        api.chat.completions.create(model="m", messages=HELLO)


def test_a_rate_repeats_by_seed():
    def strikes(seed: int) -> list[bool]:
        faults = Faults(seed)
        faults.add(Fault("server_error", rate=0.5))
        first = [faults.strike("chat", []) is not None for _ in range(50)]
        faults.clear()
        faults.add(Fault("server_error", rate=0.5))
        assert first == [faults.strike("chat", []) is not None for _ in range(50)]
        return first

    assert strikes(1) == strikes(1) != strikes(2)
    assert 10 < sum(strikes(1)) < 40


def test_a_fault_given_twice_strikes_twice_and_is_not_used_up():
    faults, fault = Faults(), Fault("unavailable", times=2)
    for _ in range(2):
        faults.add(fault, fault)
        assert [faults.strike("chat", []) is not None for _ in range(5)] == [True] * 4 + [False]
    assert fault.times == 2


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "earthquake"}, "unknown fault"),
        ({"kind": "reset", "endpoint": "images"}, "unknown endpoint"),
        ({"kind": "reset", "rate": 1.5}, "rate must be between"),
        ({"kind": "reset", "times": 0}, "times must be 1 or more"),
        ({"kind": "reset", "times": None}, "times must be 1 or more"),
    ],
)
def test_a_fault_that_could_never_strike_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Fault(**wrong)
