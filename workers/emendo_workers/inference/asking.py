"""Asking the chat model for one stage: once more when an answer is of no use, and what all of it cost."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict

from emendo_client.chat import ChatModel, Message
from emendo_client.chat.base import MALFORMED, UNUSABLE, A
from emendo_client.errors import EmendoError, InferenceError
from emendo_workers.inference.types import Usage

logger = logging.getLogger(__name__)

# How often one thing is asked.
ATTEMPTS = 2
# Said to the model when its answer was not even of the right form.
NO_FORM = "It was not a JSON object of the required form, or it was cut off."


class Asker:
    """A chat model, the prompt it is asked with, and what was spent so far.

    Args:
        chat: the model.
        prompt: the prompt's version, for the log.
    """

    def __init__(self, chat: ChatModel, prompt: str) -> None:
        self._chat = chat
        self._prompt = prompt
        self.usage = Usage()
        self.refusals: list[str] = []

    def ask(self, messages: Sequence[Message], answer_type: type[A]) -> A | None:
        """The model's answer; None when it is of no use, so that it can be asked once more.

        Raises:
            InferenceError, NetworkError, AuthenticationError: as `ChatModel.ask`, for what another answer cannot mend;
                the details say what the answers before it cost, if there were any.
        """
        try:
            answer = self._chat.ask(messages, answer_type)
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
        return answer.document

    def refuse(self, code: str = MALFORMED) -> None:
        """Remembers why an answer, or a part of it, cannot be taken."""
        self.refusals.append(code)
        logger.warning("an answer of the chat model cannot be used", extra={"prompt": self._prompt, "error": code})

    def failure(self) -> InferenceError:
        """What to raise when asking again does not help; its details say why, and what was spent."""
        return InferenceError(
            "the chat model gave no answer that can be used",
            error_code=self.refusals[-1],
            details={**asdict(self.usage), "refusals": self.refusals},
            suggestion="measure it with `emendo eval inference`; lower EMENDO_INFERENCE_WINDOW_TOKENS if it is small",
        )
