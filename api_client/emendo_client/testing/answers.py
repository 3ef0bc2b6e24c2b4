"""What the test server answers: OpenAI's JSON shapes, as plain functions of the request."""

from __future__ import annotations

import array
import base64
import email.utils
import json
import time
from dataclasses import dataclass, field
from typing import Any

from emendo_client.testing.faults import Fault
from emendo_client.testing.vectors import embed

MAX_INPUTS = 2_048
MAX_TOKENS = 8_192
_STATUS = {
    "rate_limit": 429,
    "rate_limit_date": 429,
    "rate_limit_ms": 429,
    "quota": 429,
    "server_error": 500,
    "bad_gateway": 502,
    "unavailable": 503,
    "request_timeout": 408,
    "bad_request": 400,
    "unauthorized": 401,
}


@dataclass(slots=True)
class Answer:
    """One HTTP answer; `truncate` sends less than the length it announces."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    truncate: bool = False


def json_answer(status: int, document: Any, headers: dict[str, str] | None = None) -> Answer:
    """A JSON body."""
    return Answer(status, json.dumps(document).encode(), headers or {})


def error(status: int, message: str, code: str | None = None, headers: dict[str, str] | None = None) -> Answer:
    """An error in OpenAI's shape."""
    kind = "invalid_request_error" if status < _STATUS["rate_limit"] else "server_error"
    document = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return json_answer(status, document, headers)


def fault_answer(fault: Fault) -> Answer | None:
    """The answer of a fault that is an HTTP status; None for the other kinds."""
    status = _STATUS.get(fault.kind)
    if status is None:
        return None
    headers = {}
    if fault.kind == "rate_limit":
        headers["retry-after"] = f"{fault.retry_after:g}"
    elif fault.kind == "rate_limit_ms":
        headers["retry-after-ms"] = f"{fault.retry_after * 1000:g}"
    elif fault.kind == "rate_limit_date":
        headers["retry-after"] = email.utils.formatdate(time.time() + fault.retry_after, usegmt=True)
    return error(status, f"fault: {fault.kind}", "insufficient_quota" if fault.kind == "quota" else None, headers)


def tokens_of(text: str) -> int:
    """About what a tokeniser would count."""
    return max(1, len(text) // 4)


def embedding_inputs(request: dict[str, Any]) -> list[str]:
    """The request's texts, whatever form they have."""
    given = request.get("input")
    return [given] if isinstance(given, str) else [str(item) for item in given or []]


def embeddings(request: dict[str, Any], fault: Fault | None, default_dimensions: int) -> Answer:
    """The answer to POST /embeddings."""
    inputs = embedding_inputs(request)
    refusal = _refuse(inputs)
    if refusal is not None:
        return refusal
    model = str(request.get("model", ""))
    dimensions = int(request.get("dimensions") or default_dimensions)
    as_base64 = request.get("encoding_format") == "base64"
    spoilt = fault.kind if fault is not None else ""
    if spoilt == "wrong_dimension":
        dimensions += 1
    vectors = [embed(text, model=model, dimensions=dimensions) for text in inputs]
    if spoilt == "missing_item":
        vectors.pop()
    if spoilt == "nan":
        vectors[0] = array.array("f", [float("nan")]).tobytes() + vectors[0][4:]
    tokens = sum(map(tokens_of, inputs))
    document = {
        "object": "list",
        "model": model,
        "data": [
            {"object": "embedding", "index": index, "embedding": _encoded(vector, as_base64=as_base64)}
            for index, vector in enumerate(vectors)
        ],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    answer = json_answer(200, document)
    if spoilt == "malformed_json":
        answer.body = b"{" + answer.body
    answer.truncate = spoilt == "truncated"
    return answer


def _refuse(inputs: list[str]) -> Answer | None:
    if not inputs or not all(inputs):
        return error(400, "'$.input' is invalid: it must not be empty")
    if len(inputs) > MAX_INPUTS:
        return error(400, f"'$.input' is invalid: at most {MAX_INPUTS} items")
    if any(tokens_of(text) > MAX_TOKENS for text in inputs):
        return error(400, f"This model's maximum context length is {MAX_TOKENS} tokens", "context_length_exceeded")
    return None


def _encoded(vector: bytes, *, as_base64: bool) -> Any:
    return base64.b64encode(vector).decode() if as_base64 else array.array("f", vector).tolist()


def chat(request: dict[str, Any], content: str, serial: int) -> Answer:
    """The answer to POST /chat/completions with a scripted content."""
    asked = sum(tokens_of(str(message.get("content", ""))) for message in request.get("messages", []))
    said = tokens_of(content)
    return json_answer(
        200,
        {
            "id": f"chatcmpl-{serial}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": request.get("model", ""),
            "choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said},
        },
    )
