"""A chat model for tests of logic: says what it was given, and remembers what it was asked."""

from __future__ import annotations

import json
from typing import Any

from emendo_client.chat import ChatAnswer
from emendo_client.chat.base import MALFORMED
from emendo_client.errors import InferenceError

SPENT = {"requests": 1, "prompt_tokens": 10, "completion_tokens": 2}


def useless(code: str = MALFORMED) -> InferenceError:
    """What asking raises when the answer is of no use."""
    return InferenceError("the chat model's answer is of no use", error_code=code, details=SPENT)


class ChatDouble:
    """Answers in order: a document as JSON values, or an error to raise."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.asked: list[list[dict[str, str]]] = []

    def ask(self, messages, answer_type):
        self.asked.append(list(messages))
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        document = answer_type.model_validate_json(json.dumps(answer), strict=True)
        return ChatAnswer(document, prompt_tokens=10, completion_tokens=2, requests=1)

    def close(self) -> None:
        """Nothing is open."""

    @property
    def questions(self) -> list[dict[str, Any]]:
        """What each request was about: the document in its last message."""
        return [json.loads(messages[-1]["content"]) for messages in self.asked]

    @property
    def instructions(self) -> list[str]:
        """What each request's system message said."""
        return [messages[0]["content"] for messages in self.asked]
