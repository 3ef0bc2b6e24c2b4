"""A chat model for tests of logic: says what it was given, and remembers what it was asked."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from emendo_client.errors import InferenceError
from emendo_client.providers.chat import ChatAnswer
from emendo_config.error_codes import ErrorCode

SPENT = {"requests": 1, "prompt_tokens": 10, "completion_tokens": 2}


def useless(code: str = ErrorCode.INFERENCE_MALFORMED) -> InferenceError:
    """The error for an answer that is of no use."""
    return InferenceError("the chat model's answer is of no use", error_code=code, details=SPENT)


class Cut(NamedTuple):
    """An answer that was cut off after this much of the document."""

    document: Any


class ChatDouble:
    """Answers in order: a document as JSON values, one that was cut off, or an error to raise."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.asked: list[list[dict[str, str]]] = []
        self.bounds: list[int] = []

    def ask(self, messages, answer_type, *, max_tokens, partly=False):
        self.asked.append(list(messages))
        self.bounds.append(max_tokens)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        is_cut = isinstance(answer, Cut)
        assert partly or not is_cut, "half an answer is not wanted"
        given = answer.document if is_cut else answer
        document = answer_type.model_validate_json(json.dumps(given), strict=True)
        return ChatAnswer(document, prompt_tokens=10, completion_tokens=2, requests=1, is_cut=is_cut)

    def close(self) -> None:
        """Nothing is open."""

    @property
    def questions(self) -> list[dict[str, Any]]:
        """The document in each request's last message."""
        return [json.loads(messages[-1]["content"]) for messages in self.asked]

    @property
    def instructions(self) -> list[str]:
        """Each request's system message."""
        return [messages[0]["content"] for messages in self.asked]
