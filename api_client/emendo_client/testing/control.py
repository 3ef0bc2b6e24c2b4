"""The remote control of the test server: what /_test/… does."""

from __future__ import annotations

import math
import urllib.parse
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from emendo_client.testing import answers
from emendo_client.testing.answers import Answer
from emendo_client.testing.faults import Fault
from emendo_client.testing.limits import Limits
from emendo_client.testing.rate_limits import RateLimits
from emendo_client.testing.reply import Reply

if TYPE_CHECKING:
    from emendo_client.testing.server import OpenAIServer

_FAULTS = TypeAdapter(list[Fault])
_REPLIES = TypeAdapter(list[str | Reply])
_LIMITS = TypeAdapter(Limits)
_RATE_LIMITS = TypeAdapter(RateLimits | None)
_LATENCY = TypeAdapter(dict[str, float])


def control(server: OpenAIServer, verb: str, target: str, document: Any) -> Answer:
    """Carries out one control request; 400 when the document is of no use, 404 when there is no such control.

    Args:
        server: what is steered.
        verb: GET, POST or DELETE.
        target: what comes after `/_test/`, with the query.
        document: the body, parsed. POST takes: `faults` one or a list; `chat` a list of contents and replies;
            `latency` milliseconds, or an object with `ms` and `jitter_ms`; `limits` those that differ from OpenAI's;
            `rate_limits` an object, or null for none; `reset` nothing.
    """
    what, _, query = target.partition("?")
    try:
        return _carry_out(server, f"{verb} {what.rstrip('/')}", dict(urllib.parse.parse_qsl(query)), document)
    except ValueError as failure:  # pydantic's ValidationError is one
        return answers.error(400, f"not understood: {failure}")


def _carry_out(server: OpenAIServer, order: str, options: dict[str, str], document: Any) -> Answer:
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
            server.latency_ms, server.jitter_ms = _latency(document)
        case "POST limits":
            server.limits = _LIMITS.validate_python(document)
        case "POST rate_limits":
            server.rate_limits = _RATE_LIMITS.validate_python(document)
        case "POST reset":
            server.reset()
        case _:
            return answers.error(404, f"no such control: {order}")
    return answers.json_answer(200, {})


def _latency(document: Any) -> tuple[float, float]:
    """Latency and jitter, in milliseconds."""
    given = {"jitter_ms": 0.0, **_LATENCY.validate_python(document if isinstance(document, dict) else {"ms": document})}
    if set(given) != {"ms", "jitter_ms"} or not all(math.isfinite(value) and value >= 0 for value in given.values()):
        raise ValueError("latency is milliseconds, or an object with ms and jitter_ms, none below 0")
    return given["ms"], given["jitter_ms"]
