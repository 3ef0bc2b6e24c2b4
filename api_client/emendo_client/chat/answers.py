"""Reading what a chat model said: a completion becomes a document, or an error that says nothing of its content."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pydantic

from emendo_client.chat.base import MALFORMED, REFUSED, TRUNCATED, A, ChatAnswer
from emendo_client.errors import InferenceError

_FENCE = re.compile(r"```(?:json)?(.*?)```", re.DOTALL)
_END_OF_THOUGHT = "</think>"  # models that think aloud do so before it


def read(completion: Any, answer_type: type[A], requests: int) -> ChatAnswer[A]:
    """The completion as a document of the type.

    Raises:
        InferenceError: (UNUSABLE) it cannot be used; the details say what was spent.
    """
    usage = getattr(completion, "usage", None)
    spent = {
        "prompt_tokens": _count(usage, "prompt_tokens"),
        "completion_tokens": _count(usage, "completion_tokens"),
        "requests": requests,
    }
    try:
        choice = completion.choices[0]
        reason, content = choice.finish_reason, choice.message.content
        refusal = getattr(choice.message, "refusal", None)
    except (AttributeError, IndexError, TypeError):
        raise InferenceError("the chat model's answer has no message", error_code=MALFORMED, details=spent) from None
    if refusal or reason == "content_filter":
        raise InferenceError("the chat model refuses to answer", error_code=REFUSED, details=spent)
    if reason == "length":
        raise InferenceError("the chat model's answer was cut off", error_code=TRUNCATED, details=spent)
    document = _document(content, answer_type) if isinstance(content, str) else None
    if document is None:
        raise InferenceError(
            f"the chat model's answer is no {answer_type.__name__}", error_code=MALFORMED, details=spent
        )
    return ChatAnswer(document, **spent)


def _document(content: str, answer_type: type[A]) -> A | None:
    for candidate in _candidates(content):
        try:
            return answer_type.model_validate_json(candidate, strict=True)
        except pydantic.ValidationError:
            continue
    return None


def _candidates(content: str) -> Iterator[str]:
    """Where the document may be: the whole answer, a fenced block of it, from its first brace to its last."""
    said = content.rpartition(_END_OF_THOUGHT)[2]
    yield said
    yield from _FENCE.findall(said)
    first, last = said.find("{"), said.rfind("}")
    if first < last:
        yield said[first : last + 1]


def _count(usage: Any, name: str) -> int:
    counted = getattr(usage, name, None)
    return counted if isinstance(counted, int) else 0
