"""The stand-in in a process of its own: its remote control has what the object has."""

from __future__ import annotations

import inspect
import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import openai
import pytest

from emendo_client.testing import (
    Fault,
    Limits,
    OpenAIServer,
    RateLimits,
    RemoteOpenAIServer,
    Reply,
    start_server_process,
)
from tests.support.patience import PATIENCE

HELLO = [{"role": "user", "content": "hello, json"}]


@pytest.fixture(scope="module")
def process():
    with start_server_process(api_key="right", default_dimensions=8) as started:
        yield started


@pytest.fixture
def remote(process):
    process.reset()
    return process


@pytest.fixture
def api(remote):
    with openai.OpenAI(base_url=remote.base_url, api_key="right", max_retries=0, timeout=5) as client:
        yield client


def embed(api, texts):
    return api.embeddings.create(model="m", input=texts).data


def ask(api, **more):
    return api.chat.completions.create(model="m", messages=HELLO, **more).choices[0]


def call(remote, verb, what, body=None):
    """A control request of any client, as status and document."""
    url = f"{remote.base_url.removesuffix('/v1')}/_test/{what}"
    request = urllib.request.Request(url, data=body, method=verb)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as failure:
        with failure:
            return failure.code, json.load(failure)


def test_it_is_started_with_the_options_of_the_object(remote, api):
    assert len(embed(api, "a")[0].embedding) == 8
    with pytest.raises(openai.AuthenticationError):
        embed(api.with_options(api_key="wrong"), "a")
    options = inspect.signature(start_server_process).parameters
    made_with = inspect.signature(OpenAIServer).parameters
    assert {name: options[name].default for name in options} == {
        name: made_with[name].default for name in made_with if name not in ("limits", "rate_limits")
    }


def test_faults_are_added_and_cleared(remote, api):
    remote.add_faults(Fault("unavailable"), Fault("bad_request", match="poison", times=9), Fault("reset", rate=0))
    with pytest.raises(openai.InternalServerError):
        embed(api, "a")
    with pytest.raises(openai.BadRequestError):
        embed(api, "poison")
    remote.clear_faults()
    embed(api, "poison")
    assert [(request["status"], request["fault"]) for request in remote.requests()] == [
        (503, "unavailable"),
        (400, "bad_request"),
        (200, None),
    ]


def test_chat_answers_are_scripted(remote, api):
    remote.script("hello", Reply(refusal="no"), Reply("cut", finish_reason="length"), Reply(), "never said")
    said = [ask(api) for _ in range(4)]
    assert [choice.message.content for choice in said] == ["hello", None, "cut", None]
    assert [choice.message.refusal for choice in said] == [None, "no", None, None]
    assert [choice.finish_reason for choice in said] == ["stop", "stop", "length", "stop"]
    remote.clear_script()
    with pytest.raises(openai.InternalServerError, match="no chat answer is scripted"):
        ask(api)


def test_the_log_holds_the_whole_request_or_no_text_at_all(remote, api):
    remote.script("{}")
    ask(api, response_format={"type": "json_object"}, temperature=0.5)
    embed(api, ["a", "b"])
    chat, embeddings = remote.requests()
    assert chat["body"] == {
        "model": "m",
        "messages": HELLO,
        "response_format": {"type": "json_object"},
        "temperature": 0.5,
    }
    assert (chat["endpoint"], chat["inputs"], chat["count"]) == ("chat", ["hello, json"], 1)
    assert (embeddings["path"], embeddings["inputs"], embeddings["count"]) == ("/v1/embeddings", ["a", "b"], 2)
    assert remote.requests(texts=False) == [
        {name: value for name, value in request.items() if name not in ("inputs", "body")}
        for request in (chat, embeddings)
    ]
    assert "hello" not in str(call(remote, "GET", "requests?texts=0"))
    assert call(remote, "GET", "requests") == (200, [chat, embeddings])
    remote.clear_requests()
    assert remote.requests() == []


def test_limits_are_set(remote, api):
    remote.set_limits(Limits(models=frozenset({"n", "m"}), max_inputs=1, response_formats={"text"}))
    assert [model.id for model in api.models.list()] == ["m", "n"]
    with pytest.raises(openai.BadRequestError, match="at most 1"):
        embed(api, ["a", "b"])
    with pytest.raises(openai.BadRequestError, match="not supported with this model"):
        ask(api, response_format={"type": "json_object"})
    remote.set_limits(Limits())
    assert len(embed(api, ["a", "b"])) == 2


def test_rate_limits_are_set(remote, api):
    remote.set_rate_limits(RateLimits(requests=5, tokens=50))
    answer = api.embeddings.with_raw_response.create(model="m", input="a")
    assert answer.headers["x-ratelimit-remaining-requests"] == "4"
    assert answer.headers["x-ratelimit-remaining-tokens"] == "49"
    remote.set_rate_limits(None)
    answer = api.embeddings.with_raw_response.create(model="m", input="a")
    assert "x-ratelimit-remaining-requests" not in answer.headers


def test_latency_is_set(remote, api):
    remote.set_latency(60_000, jitter_ms=1)
    with pytest.raises(openai.APITimeoutError):
        embed(api.with_options(timeout=0.2), "a")
    assert call(remote, "POST", "latency", b"0") == (200, {})
    embed(api, "a")


def test_reset_undoes_everything(remote, api):
    remote.set_latency(60_000)
    remote.set_limits(Limits(models=frozenset()))
    remote.set_rate_limits(RateLimits())
    remote.add_faults(Fault("unavailable", times=100))
    remote.script("never said")
    remote.reset()
    answer = api.embeddings.with_raw_response.create(model="m", input="a")
    assert "x-ratelimit-limit-requests" not in answer.headers
    with pytest.raises(openai.InternalServerError, match="no chat answer is scripted"):
        ask(api)
    assert [request["status"] for request in remote.requests()] == [200, 500]


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("faults", b'{"kind": "earthquake"}'),
        ("faults", b'[{"kind": "reset"}, {"kind": "reset", "tmies": 2}]'),
        ("faults", b'{"kind": "rate_limit", "retry_after": "soon"}'),
        ("faults", b'{"kind": "reset", "rate": 2}'),
        ("faults", b'"reset"'),
        ("faults", b""),
        ("faults", b"{"),
        ("chat", b'"hello"'),
        ("chat", b"[1]"),
        ("chat", b'[{"content": "a", "finish_reason": "tired"}]'),
        ("chat", b'[{"say": "a"}]'),
        ("latency", b'"slow"'),
        ("latency", b"-1"),
        ("latency", b"NaN"),
        ("latency", b'{"jitter_ms": 5}'),
        ("latency", b'{"ms": 5, "jitter": 5}'),
        ("limits", b'{"max_inputs": 0}'),
        ("limits", b'{"max_input": 5}'),
        ("limits", b'{"response_formats": ["yaml"]}'),
        ("limits", b"null"),
        ("rate_limits", b'{"requests": "many"}'),
        ("rate_limits", b"[]"),
        ("rate_limits", b"{"),
    ],
)
def test_a_document_of_no_use_is_refused_and_changes_nothing(remote, api, what, body):
    status, answer = call(remote, "POST", what, body)
    assert (status, list(answer)) == (400, ["error"])
    embed(api, "a")
    with pytest.raises(openai.InternalServerError, match="no chat answer is scripted"):
        ask(api)


@pytest.mark.parametrize(
    ("verb", "what"),
    [("GET", "faults"), ("POST", "requests"), ("DELETE", "latency"), ("GET", "earthquakes"), ("GET", "")],
)
def test_an_unknown_control_is_not_found(remote, verb, what):
    assert call(remote, verb, what)[0] == 404


def test_what_the_server_does_not_understand_is_a_value_error(remote):
    with pytest.raises(ValueError, match="not understood"):
        remote.set_latency(-1)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        remote._call("POST", "earthquakes")


def test_it_is_found_past_a_proxy_and_gone_after_stop(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with start_server_process() as remote:
        assert remote.requests() == []
    with pytest.raises(urllib.error.URLError):
        remote.requests()
    remote.stop()


def test_a_server_of_someone_elses_is_steered_and_left_running():
    with OpenAIServer() as server:
        with RemoteOpenAIServer(server.base_url) as remote:
            remote.add_faults(Fault("unavailable"))
        assert server.faults.strike("chat", []).kind == "unavailable"
        assert remote.requests() == []


def test_a_server_that_cannot_start_says_so(capfd):
    with OpenAIServer() as taken, pytest.raises(RuntimeError, match="did not start"):
        start_server_process(port=int(taken.base_url.split(":")[2].removesuffix("/v1")))
    assert "Address already in use" in capfd.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_ready_file_holds_the_address_while_the_server_answers(tmp_path, number):
    ready = tmp_path / "server.url"
    ready.write_text("http://127.0.0.1:9/v1\n")
    command = [sys.executable, "-m", "emendo_client.testing", "--ready-file", str(ready)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            printed = process.stdout.readline()
            assert ready.read_text() == printed, "whoever reads either finds the other"
            assert RemoteOpenAIServer(printed.strip()).requests() == []
            process.send_signal(number)
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
    assert list(tmp_path.iterdir()) == []
