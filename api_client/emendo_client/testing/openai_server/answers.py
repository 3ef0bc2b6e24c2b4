"""The test server's answers: OpenAI's JSON shapes, as plain functions of the request."""

from __future__ import annotations

import email.utils
import json
import time
from dataclasses import dataclass, field
from typing import Any, Literal

from emendo_client.testing.openai_server.faults import Fault
from emendo_client.testing.openai_server.reply import Reply
from emendo_client.testing.openai_server.texts import inputs_of, tokens_of

NO_ANSWER = 0  # the status if nothing is sent
_SERVER_ERROR = 500
# The status of each fault that is an error answer, and OpenAI's code for it.
_ERRORS: dict[str, tuple[int, str | None]] = {
    "rate_limit": (429, "rate_limit_exceeded"),
    "rate_limit_date": (429, "rate_limit_exceeded"),
    "rate_limit_ms": (429, "rate_limit_exceeded"),
    "quota": (429, "insufficient_quota"),
    "server_error": (500, None),
    "bad_gateway": (502, None),
    "unavailable": (503, None),
    "request_timeout": (408, None),
    "bad_request": (400, None),
    "unauthorized": (401, "invalid_api_key"),
}


@dataclass(slots=True)
class Answer:
    """One HTTP answer, or the way in which there is none.

    Attributes:
        status: NO_ANSWER for the endings `reset` and `silence`.
        ending: `short` sends half of the announced length, `reset` tears the connection down, `silence` waits for
            the client to give up.
        silence: the longest `silence`, in seconds.
    """

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    ending: Literal["whole", "short", "reset", "silence"] = "whole"
    silence: float = 0.0


def json_answer(status: int, document: Any, headers: dict[str, str] | None = None) -> Answer:
    """A JSON body."""
    return Answer(status, json.dumps(document).encode(), headers or {})


def error(
    status: int,
    message: str,
    code: str | None = None,
    headers: dict[str, str] | None = None,
    *,
    param: str | None = None,
) -> Answer:
    """An error in OpenAI's shape."""
    kind = "server_error" if status >= _SERVER_ERROR else "invalid_request_error"
    return json_answer(status, {"error": {"message": message, "type": kind, "param": param, "code": code}}, headers)


_HIDDEN = {"error": {"message": "Provider returned error", "code": 502}, "user_id": "u"}
# Faults that are no error answer; nobody changes an answer.
_BROKEN: dict[str, Answer] = {
    "reset": Answer(NO_ANSWER, ending="reset"),
    "malformed_json": Answer(200, b'{"object": "list", "data": [}'),
    "hidden_error": json_answer(200, _HIDDEN),
    "truncated": Answer(200, b'{"object": "list", "data": []}', ending="short"),
}


def fault_answer(fault: Fault, endpoint: str) -> Answer | None:
    """The answer of a fault; None for faults that only damage vectors."""
    if fault.kind == "timeout":
        return Answer(NO_ANSWER, ending="silence", silence=fault.silence)
    if fault.kind in _BROKEN:
        return _BROKEN[fault.kind]
    if fault.kind not in _ERRORS:
        return None
    status, code = _ERRORS[fault.kind]
    if fault.kind == "bad_request" and endpoint == "embeddings":
        code = "content_policy_violation"  # of the texts, whatever form the request has
    return error(status, f"fault: {fault.kind}", code, _retry_headers(fault))


def _retry_headers(fault: Fault) -> dict[str, str]:
    match fault.kind:
        case "rate_limit":
            return {"retry-after": f"{fault.retry_after:g}"}
        case "rate_limit_ms":
            return {"retry-after-ms": f"{fault.retry_after * 1000:g}"}
        case "rate_limit_date":
            return {"retry-after": email.utils.formatdate(time.time() + fault.retry_after, usegmt=True)}
    return {}


def chat(request: dict[str, Any], reply: Reply, serial: int) -> Answer:
    """The answer to POST /chat/completions with this reply."""
    asked = sum(map(tokens_of, inputs_of("chat", request)))
    said = sum(tokens_of(text) for text in (reply.content, reply.refusal) if text)
    message = {"role": "assistant", "content": reply.content, "refusal": reply.refusal}
    return json_answer(
        200,
        {
            "id": f"chatcmpl-{serial}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": request["model"],
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reply.finish_reason}],
            "usage": {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said},
        },
    )


def models(names: list[str]) -> Answer:
    """The answer to GET /models."""
    listed = [{"id": name, "object": "model", "created": 0, "owned_by": "emendo"} for name in names]
    return json_answer(200, {"object": "list", "data": listed})
