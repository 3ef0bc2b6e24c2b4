"""HEAD is worked as GET, an answer has its common fields once, and an error is answered once."""

from __future__ import annotations

import json

import pytest

from emendo_client.errors import NetworkError
from emendo_gateway.admission.envelope import Envelope
from emendo_gateway.callers import state_of
from emendo_gateway.problems.refusals import refusal

START = {"type": "http.response.start", "status": 200}
END = {"type": "http.response.body", "body": b"{}"}


async def answered(app, method="GET", path="/api/v1/memories", kind="http"):
    """The messages that are sent, and the errors that were noticed."""
    sent, noticed = [], []

    async def send(message):
        sent.append(message)

    scope = {"type": kind, "method": method, "path": path, "headers": []}
    await Envelope(app, noticed.append)(scope, None, send)
    return sent, noticed


@pytest.mark.parametrize(
    ("method", "path", "worked", "body"),
    [
        ("GET", "/api/v1/memories", "GET", b"{}"),
        ("HEAD", "/api/v1/memories", "GET", b""),
        ("HEAD", "/health", "GET", b""),
        ("HEAD", "/api/v1/jobs/a/events", "HEAD", b""),  # a stream has no end that would be worth its work
    ],
)
async def test_head_is_worked_as_get_and_answered_without_the_body(method, path, worked, body):
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["method"])
        await send({**START, "headers": [(b"content-length", b"2")]})
        await send(dict(END))

    (start, end), _ = await answered(app, method, path)
    assert (seen, end["body"]) == ([worked], body)
    assert (b"content-length", b"2") in start["headers"]


async def test_a_field_that_an_answer_sets_itself_is_there_once():
    async def app(scope, receive, send):
        state_of(scope).headers.append((b"ratelimit", b"1"))
        await send({**START, "headers": [(b"Cache-Control", b"private"), (b"content-type", b"x")]})

    ((start,), _) = await answered(app)
    names = [name.lower() for name, _ in start["headers"]]
    assert len(names) == len(set(names))
    assert {(b"Cache-Control", b"private"), (b"ratelimit", b"1"), (b"x-content-type-options", b"nosniff")} <= {
        *start["headers"]
    }


@pytest.mark.parametrize(
    ("error", "code", "is_noticed"),
    [
        (NetworkError("away"), "NETWORK", True),
        (refusal(NetworkError("away")), "NETWORK", False),
        (ZeroDivisionError(), "UNEXPECTED", False),
    ],
)
@pytest.mark.parametrize("begins", [False, True])
async def test_an_error_is_answered_unless_the_answer_has_begun(error, code, is_noticed, begins):
    async def app(scope, receive, send):
        if begins:
            await send(dict(START))
        raise error

    sent, noticed = await answered(app)
    assert [each["type"] for each in sent] == [START["type"]] + [END["type"]] * (not begins)
    assert begins or json.loads(sent[1]["body"])["code"] == code
    assert noticed == ([error] if is_noticed else [])


async def test_no_websocket_is_opened():
    sent, _ = await answered(None, kind="websocket")
    assert sent == [{"type": "websocket.close", "code": 1008}]
