"""The remote control of the test server: requests to /_test/…."""

from __future__ import annotations

import math
import urllib.parse
from typing import Any

from pydantic import TypeAdapter

from emendo_client.testing.openai_server import answers
from emendo_client.testing.openai_server.answers import Answer
from emendo_client.testing.openai_server.behaviour import Behaviour
from emendo_client.testing.openai_server.embedding_form import EmbeddingForm
from emendo_client.testing.openai_server.faults import Fault
from emendo_client.testing.openai_server.limits import Limits
from emendo_client.testing.openai_server.rate_limits import RateLimits
from emendo_client.testing.openai_server.reply import Reply

_FAULTS = TypeAdapter(list[Fault])
_REPLIES = TypeAdapter(list[str | Reply])
_LIMITS = TypeAdapter(Limits)
_RATE_LIMITS = TypeAdapter(RateLimits | None)
_FORM = TypeAdapter(EmbeddingForm)
_LATENCY = TypeAdapter(dict[str, float])


def control(server: Behaviour, verb: str, target: str, document: Any) -> Answer:
    """Carries out one control request: 400 for an invalid document, 404 for an unknown control.

    Args:
        server: the server to control.
        verb: GET, POST or DELETE.
        target: the path after `/_test/`, with the query.
        document: the parsed body. docs/how-to/test-your-app.md shows one for each control.
    """
    what, _, query = target.partition("?")
    try:
        return _carry_out(server, f"{verb} {what.rstrip('/')}", dict(urllib.parse.parse_qsl(query)), document)
    except ValueError as failure:  # pydantic's ValidationError is one
        return answers.error(400, f"not understood: {failure}")


def _carry_out(server: Behaviour, order: str, options: dict[str, str], document: Any) -> Answer:
    match order:
        case "POST faults":
            server.faults.add(*_FAULTS.validate_python(document if isinstance(document, list) else [document]))
        case "DELETE faults":
            server.faults.clear()
        case "GET requests":
            texts = options.get("texts") != "0"
            return answers.json_answer(200, [request.document(texts=texts) for request in server.requests])
        case "DELETE requests":
            server.clear_requests()
        case "POST chat":
            server.script(*_REPLIES.validate_python(document))
        case "DELETE chat":
            server.chat.clear()
        case "POST latency":
            server.latency_ms, server.jitter_ms, server.input_ms = _latency(document)
        case "POST limits":
            server.limits = _LIMITS.validate_python(document)
        case "POST form":
            server.form = _FORM.validate_python(document)
        case "POST rate_limits":
            server.rate_limits = _RATE_LIMITS.validate_python(document)
        case "POST reset":
            server.reset()
        case _:
            return answers.error(404, f"no such control: {order}")
    return answers.json_answer(200, {})


def _latency(document: Any) -> tuple[float, float, float]:
    """Latency, jitter, and what each text adds, in milliseconds."""
    given = {
        "jitter_ms": 0.0,
        "input_ms": 0.0,
        **_LATENCY.validate_python(document if isinstance(document, dict) else {"ms": document}),
    }
    if set(given) != {"ms", "jitter_ms", "input_ms"} or not all(
        math.isfinite(value) and value >= 0 for value in given.values()
    ):
        raise ValueError("latency is milliseconds, or an object with ms, jitter_ms and input_ms, none below 0")
    return given["ms"], given["jitter_ms"], given["input_ms"]
