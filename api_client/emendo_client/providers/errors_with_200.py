"""Errors that servers send with 200. OpenRouter answers 200 before the provider behind it has begun.

The error stands in place of the answer, or in its first choice. A number in it is the status that it would have had.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx2
import openai

_CLASSES: dict[int, type[openai.APIStatusError]] = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    409: openai.ConflictError,
    422: openai.UnprocessableEntityError,
    429: openai.RateLimitError,
}
_STATUSES, _UNKNOWN = range(400, 600), 500
# Bytes of an answer within which its error begins; an answer of vectors is not read twice.
_HEAD = 256
_MARK = b'"error"'


def refusal_in(response: httpx2.Response) -> openai.APIStatusError | None:
    """The error in the body of a successful answer; None if it holds none, or is no JSON."""
    if _MARK not in response.content[:_HEAD]:
        return None
    try:
        return refusal_of(json.loads(response.content), response)
    except (ValueError, RecursionError):
        return None


def refusal_of(body: Any, response: httpx2.Response) -> openai.APIStatusError | None:
    """The same for a body that has been read."""
    said = _error_in(body)
    if said is None:
        return None
    error: Mapping[str, Any] = said if isinstance(said, Mapping) else {"message": said}
    code = error.get("code")
    if isinstance(code, str) and code.isascii() and code.isdecimal():
        code = int(code)
    status = code if isinstance(code, int) and code in _STATUSES else _UNKNOWN
    answer = httpx2.Response(status, headers=_of_the_answer(response), json={"error": said}, request=response.request)
    kind = _CLASSES.get(status, openai.InternalServerError if status >= _UNKNOWN else openai.APIStatusError)
    return kind(f"Error code: {status} - {error}", response=answer, body=dict(error))


def _error_in(body: Any) -> Mapping[str, Any] | str | None:
    if not isinstance(body, Mapping):
        return None
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    holder = first if isinstance(first, Mapping) else None if body.get("data") else body
    error = holder.get("error") if holder is not None else None
    return error if error and isinstance(error, Mapping | str) else None


def _of_the_answer(response: httpx2.Response) -> dict[str, str]:
    """Headers that still hold: how long to wait, and the request's id."""
    return {
        name: value
        for name, value in response.headers.items()
        if name.startswith(("retry-after", "x-request-id", "x-ratelimit"))
    }
