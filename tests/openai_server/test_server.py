"""The shipped provider stand-in speaks the real protocol, as the real openai client sees it."""

from __future__ import annotations

import array
import http.client
import json
import socket
import threading
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

from emendo_client.testing import OpenAIServer, RateLimits, Request
from emendo_client.testing.openai_server import rate_limits
from emendo_client.testing.openai_server.vectors import embed
from tests.support.patience import PATIENCE

MODEL = "text-embedding-3-small"


def vectors(api, texts, **more):
    answer = api.embeddings.create(model=MODEL, input=texts, dimensions=64, **more)
    return [item.embedding for item in answer.data]


def similarity(one: bytes, other: bytes) -> float:
    return sum(a * b for a, b in zip(array.array("f", one), array.array("f", other), strict=True))


@pytest.fixture
def connection(server):
    """One kept-alive connection, for what the openai client would never send."""
    address = urllib.parse.urlsplit(server.base_url)
    opened = http.client.HTTPConnection(address.hostname, address.port, timeout=5)
    yield opened
    opened.close()


def send(connection, path, body=b"", method="POST", **more):
    connection.request(method, path, body, **more)
    answer = connection.getresponse()
    return answer.status, json.load(answer)


def test_lists_and_base64_say_the_same(api):
    (plain,) = vectors(api, ["hello"], encoding_format="float")
    assert array.array("f", plain).tobytes() == embed("hello", model=MODEL, dimensions=64)
    assert vectors(api, "hello")[0] == pytest.approx(plain)


async def test_the_async_client_is_answered_the_same(api, async_api):
    answer = await async_api.embeddings.create(model=MODEL, input=["hello"], dimensions=64)
    assert [item.embedding for item in answer.data] == vectors(api, ["hello"])


def test_equal_texts_are_equal_and_related_ones_near():
    sushi = embed("I enjoy seafood, especially sushi", dimensions=256)
    assert sushi == embed("I enjoy seafood, especially sushi", dimensions=256)
    assert similarity(sushi, sushi) == pytest.approx(1, abs=1e-5)
    assert similarity(sushi, embed("do I enjoy sushi", dimensions=256)) > 0.4
    assert similarity(sushi, embed("the violin concert was long", dimensions=256)) < 0.3
    assert similarity(embed("我喜欢绿茶", dimensions=256), embed("我每天喝绿茶", dimensions=256)) > 0.2


def test_usage_and_default_dimensions_are_answered():
    with OpenAIServer(default_dimensions=24) as server, openai.OpenAI(base_url=server.base_url, api_key="x") as api:
        answer = api.embeddings.create(model="m", input=["four" * 10, "x"])
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == 11
    assert [len(item.embedding) for item in answer.data] == [24, 24]


def test_a_request_is_logged_whole(server, api):
    before = time.time()
    vectors(api, ["four" * 10, "x"], encoding_format="float", user="u1")
    (request,) = server.requests
    assert isinstance(request, Request)
    assert (request.endpoint, request.path, request.status, request.fault) == (
        "embeddings",
        "/v1/embeddings",
        200,
        None,
    )
    assert (request.inputs, request.tokens) == (["four" * 10, "x"], 11)
    assert request.body == {
        "model": MODEL,
        "input": ["four" * 10, "x"],
        "dimensions": 64,
        "encoding_format": "float",
        "user": "u1",
    }
    assert before <= request.time <= time.time()
    assert "four" not in repr(request), "texts stay out of what a failing assertion prints"
    server.clear_requests()
    assert server.requests == []


@pytest.mark.parametrize("key", ["wrong", "right and more"])
def test_a_wrong_key_is_refused_everywhere_and_logged(key):
    with (
        OpenAIServer(api_key="right") as server,
        openai.OpenAI(base_url=server.base_url, api_key=key, max_retries=0) as api,
    ):
        for ask in (lambda: vectors(api, ["a"]), api.models.list):
            with pytest.raises(openai.AuthenticationError) as failure:
                ask()
            assert failure.value.code == "invalid_api_key"
        assert [request.status for request in server.requests] == [401]
        assert len(vectors(api.with_options(api_key="right"), ["a"])) == 1


def test_a_body_that_is_not_json_is_refused_and_the_connection_goes_on(connection):
    status, answer = send(connection, "/v1/embeddings", b"{no json")
    assert (status, answer["error"]["message"]) == (400, "the body is not JSON")
    opened = connection.sock
    for body in (b"", b"null", b"[1]", b'"text"', b"\xff\xfe"):
        status, answer = send(connection, "/v1/embeddings", body)
        assert (status, set(answer)) == (400, {"error"})
    status, _ = send(connection, "/v1/embeddings", json.dumps({"model": "m", "input": "a", "dimensions": 8}))
    assert (status, connection.sock) == (200, opened)


@pytest.mark.parametrize("length", [b"Transfer-Encoding: chunked", b"Content-Length: -1", b"Content-Length: two"])
def test_a_body_of_unknown_length_is_refused_and_the_connection_closed(server, length):
    address = urllib.parse.urlsplit(server.base_url)
    with socket.create_connection((address.hostname, address.port), timeout=5) as plain:
        # One segment: nothing is left unread when the server closes, which would reset the connection.
        plain.sendall(b"POST /v1/embeddings HTTP/1.1\r\n" + length + b"\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
        answer = b"".join(iter(lambda: plain.recv(4_096), b""))
    assert answer.startswith(b"HTTP/1.1 411 ")
    assert "error" in json.loads(answer.partition(b"\r\n\r\n")[2]), "what follows is not taken for another request"


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/embeddings"), ("POST", "/v1/models"), ("POST", "/v1/files")])
def test_an_unknown_endpoint_is_not_found(connection, server, method, path):
    assert send(connection, path, b"{}", method)[0] == 404
    assert server.requests == []


def test_latency_is_kept(server, api):
    server.latency_ms = 120
    began = time.monotonic()
    vectors(api, ["a"])
    assert time.monotonic() - began >= 0.12


def test_jitter_is_added_and_repeats_by_seed():
    first, again, other = (OpenAIServer(latency_ms=100, jitter_ms=50, seed=seed) for seed in (1, 1, 2))
    delays = [first.delay() for _ in range(20)]
    assert delays == [again.delay() for _ in range(20)] != [other.delay() for _ in range(20)]
    assert min(delays) >= 0.1
    assert max(delays) <= 0.15
    assert len(set(delays)) == 20
    first.reset()
    assert delays == [first.delay() for _ in range(20)]
    for server in (first, again, other):
        server.stop()


def rate_limit_headers(api, **request):
    answer = api.embeddings.with_raw_response.create(model=MODEL, dimensions=8, **request)
    return {name: value for name, value in answer.headers.items() if name.startswith("x-ratelimit-")}


def test_rate_limits_are_told_in_the_headers_and_start_over_each_minute(server, api, monkeypatch):
    assert rate_limit_headers(api, input="a") == {}
    now = 1_000.0
    monkeypatch.setattr(rate_limits.time, "monotonic", lambda: now)
    server.rate_limits = RateLimits(requests=10, tokens=100)
    rate_limit_headers(api, input="four" * 10)
    now += 15.5
    assert rate_limit_headers(api, input="x") == {
        "x-ratelimit-limit-requests": "10",
        "x-ratelimit-limit-tokens": "100",
        "x-ratelimit-remaining-requests": "8",
        "x-ratelimit-remaining-tokens": "89",
        "x-ratelimit-reset-requests": "44.500s",
        "x-ratelimit-reset-tokens": "44.500s",
    }
    assert rate_limit_headers(api, input="x" * 800)["x-ratelimit-remaining-tokens"] == "0"
    now += 44.5
    assert rate_limit_headers(api, input="x")["x-ratelimit-remaining-requests"] == "9"


def test_requests_that_come_together_are_each_counted_once(server, api):
    server.rate_limits = RateLimits(requests=100)
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda _: rate_limit_headers(api, input="x"), range(40)))
    assert sorted(int(headers["x-ratelimit-remaining-requests"]) for headers in told) == list(range(60, 100))
    assert len(server.requests) == 40


def test_reset_undoes_what_was_set_since_the_server_was_made():
    with OpenAIServer(latency_ms=1, api_key="right", default_dimensions=8, rate_limits=RateLimits(5)) as server:
        made_with = server.limits
        server.latency_ms = server.jitter_ms = server.input_ms = 9_000
        server.api_key, server.default_dimensions, server.limits, server.rate_limits = "", 9, None, None
        server.script("never said")
        server.log(Request("chat", [], 0, 200, None))
        server.reset()
        assert (server.latency_ms, server.jitter_ms, server.input_ms, server.limits) == (1, 0, 0, made_with)
        assert server.requests == []
        with openai.OpenAI(base_url=server.base_url, api_key="right", max_retries=0) as api:
            answer = api.embeddings.with_raw_response.create(model="m", input="a")
            assert answer.headers["x-ratelimit-remaining-requests"] == "4"
            assert len(answer.parse().data[0].embedding) == 8
            with pytest.raises(openai.InternalServerError, match="no chat answer is scripted"):
                api.chat.completions.create(model="m", messages=[{"role": "user", "content": "hello"}])
            server.reset()
            answer = api.embeddings.with_raw_response.create(model="m", input="a")
            assert answer.headers["x-ratelimit-remaining-requests"] == "4"


def test_a_connection_that_was_kept_alive_is_not_answered_after_stop(server, api):
    for ask in (lambda: vectors(api, ["a"]), api.models.list):
        ask()
    server.stop()
    for ask in (lambda: vectors(api, ["a"]), api.models.list):
        with pytest.raises(openai.APIConnectionError):
            ask()
    assert len(server.requests) == 1
    server.stop()


def test_stop_cuts_an_answer_that_is_under_way(server, api):
    server.latency_ms = 60_000
    asked = threading.Event()
    server.faults.strike = lambda *_: asked.set()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(vectors, api.with_options(timeout=30), ["a"])
        assert asked.wait(PATIENCE)
        server.stop()
        with pytest.raises(openai.APIConnectionError) as failure:
            answer.result()
    assert not isinstance(failure.value, openai.APITimeoutError)


def test_a_server_that_was_never_started_can_be_stopped():
    server = OpenAIServer()
    server.stop()
    server.stop()
