"""Questions to the chat model with a structured answer: an unusable answer is asked for again; all cost is counted."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict

from emendo_client.errors import EmendoError, InferenceError
from emendo_client.providers.chat import ChatAnswer, ChatModel, Message, Usage
from emendo_client.providers.chat.base import UNUSABLE, A
from emendo_config.error_codes import ErrorCode

logger = logging.getLogger(__name__)

# How often one question is asked, and at most when each answer was cut off and went further than the one before.
ATTEMPTS, MAX_QUESTIONS = 2, 6
# Told to the model when its answer had not even the right form.
NO_FORM = "It was not a JSON object of the required form, or it was cut off."


class StructuredChat:
    """Asks a chat model, and counts what was spent.

    Args:
        chat: the model.
        prompt: the prompt's version, for the log.
    """

    def __init__(self, chat: ChatModel, prompt: str) -> None:
        self._chat = chat
        self._prompt = prompt
        self.usage = Usage()
        self.refusals: list[str] = []

    def ask(self, messages: Sequence[Message], answer_type: type[A], max_tokens: int) -> ChatAnswer[A] | None:
        """The model's answer, which may be cut off; None when it cannot be used, and the question may be repeated.

        Raises:
            InferenceError, NetworkError, AuthenticationError: as `ChatModel.ask`, where another answer would not help.
                The details have the cost of earlier answers, if there were any.
        """
        try:
            answer = self._chat.ask(messages, answer_type, max_tokens=max_tokens, partly=True)
        except EmendoError as error:
            if error.error_code not in UNUSABLE:
                if self.usage != Usage():
                    error.details = {**error.details, **asdict(self.usage)}
                raise
            spent = error.details
            self.usage += Usage(
                spent.get("requests", 1), spent.get("prompt_tokens", 0), spent.get("completion_tokens", 0)
            )
            self.refuse(error.error_code)
            return None
        self.usage += Usage(answer.requests, answer.prompt_tokens, answer.completion_tokens)
        if answer.is_cut:
            self.refuse(ErrorCode.INFERENCE_TRUNCATED)
        return answer

    def refuse(self, code: str = ErrorCode.INFERENCE_MALFORMED) -> None:
        """Records why an answer, or a part of it, cannot be used."""
        self.refusals.append(code)
        logger.warning("an answer of the chat model cannot be used", extra={"prompt": self._prompt, "error": code})

    def failure(self) -> InferenceError:
        """The error to raise when repeating the question does not help; its details have the reasons and the cost."""
        return InferenceError(
            "the chat model gave no answer that can be used",
            error_code=self.refusals[-1],
            details={**asdict(self.usage), "refusals": self.refusals},
            suggestion="measure it with `emendo eval inference`; lower EMENDO_INFERENCE_WINDOW_TOKENS if it is small",
        )
