"""The remote control of the test server: what /_test/… does."""

from __future__ import annotations

import urllib.parse
from typing import TYPE_CHECKING, Any

from emendo_client.testing import answers
from emendo_client.testing.answers import Answer
from emendo_client.testing.faults import Fault

if TYPE_CHECKING:
    from emendo_client.testing.server import OpenAIServer


def control(server: OpenAIServer, verb: str, target: str, document: Any) -> Answer:
    """Carries out one control request; 400 when the document is of no use, 404 when there is no such control.

    Args:
        server: what is steered.
        verb: GET, POST or DELETE.
        target: what comes after `/_test/`, with the query.
        document: the body, parsed: faults (one or a list), chat contents (a list), or the latency (milliseconds,
            or an object with `ms` and `jitter_ms`).
    """
    what, _, query = target.partition("?")
    try:
        return _carry_out(server, f"{verb} {what.rstrip('/')}", dict(urllib.parse.parse_qsl(query)), document)
    except (KeyError, TypeError, ValueError) as failure:
        return answers.error(400, f"not understood: {failure}")


def _carry_out(server: OpenAIServer, order: str, options: dict[str, str], document: Any) -> Answer:
    match order:
        case "POST faults":
            given = document if isinstance(document, list) else [document]
            server.faults.add(*[Fault(**fault) for fault in given])
        case "DELETE faults":
            server.faults.clear()
        case "GET requests":
            texts = options.get("texts") != "0"
            return answers.json_answer(200, [request.document(texts=texts) for request in server.requests])
        case "DELETE requests":
            server.clear_requests()
        case "POST chat":
            if not isinstance(document, list) or not all(isinstance(content, str) for content in document):
                raise ValueError("give a list of strings")
            server.chat.script(document)
        case "POST latency":
            latency = document if isinstance(document, dict) else {"ms": document}
            milliseconds, jitter = float(latency["ms"]), float(latency.get("jitter_ms", 0))
            server.latency_ms, server.jitter_ms = milliseconds, jitter
        case _:
            return answers.error(404, f"no such control: {order}")
    return answers.json_answer(200, {})
