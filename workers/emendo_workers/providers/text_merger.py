"""Merges two versions of a text through the chat model."""

from __future__ import annotations

import logging
from typing import Protocol

from emendo_client.errors import InferenceError, ValidationError
from emendo_client.providers.chat import ChatModel
from emendo_client.providers.chat.base import UNUSABLE
from emendo_config import Settings
from emendo_workers.providers import merge_prompt
from emendo_workers.providers.merge_prompt import Texts
from emendo_workers.providers.model_texts import model_text

logger = logging.getLogger(__name__)

# Questions to the model before a person decides.
MAX_QUESTIONS = 2


class TextMerger(Protocol):
    """Merges what two writers made of one text."""

    def merge(self, texts: Texts) -> str | None:
        """The merged text; None when a person must decide.

        Raises:
            NetworkError, RateLimitError: a later attempt may succeed.
        """
        ...


class ChatTextMerger:
    """Asks a chat model, and once more if its answer is unusable; then a person decides."""

    def __init__(self, chat: ChatModel, settings: Settings) -> None:
        self._chat = chat
        self._settings = settings

    def merge(self, texts: Texts) -> str | None:
        """See `TextMerger.merge`.

        Raises:
            AuthenticationError, InferenceError: the provider would refuse every question, because of its key or the
                model's name.
        """
        for attempt in range(1, MAX_QUESTIONS + 1):
            try:
                return self._ask(texts)
            except InferenceError as error:
                if error.error_code not in UNUSABLE:
                    raise
                self._warn("the chat model's answer is unusable", attempt, error.error_code)
            except ValidationError as error:
                self._warn("the chat model's answer is not a valid memory text", attempt, error.error_code)
        return None

    def _ask(self, texts: Texts) -> str | None:
        answer = self._chat.ask(
            merge_prompt.messages(texts), merge_prompt.MergedText, max_tokens=merge_prompt.max_tokens(texts)
        )
        merged = answer.document.text
        logger.info(
            "two texts were merged" if merged is not None else "two texts contradict each other",
            extra={
                "prompt": merge_prompt.VERSION,
                "prompt_tokens": answer.prompt_tokens,
                "completion_tokens": answer.completion_tokens,
            },
        )
        return None if merged is None else model_text(merged, self._settings)

    @staticmethod
    def _warn(problem: str, attempt: int, error_code: str) -> None:
        logger.warning(problem, extra={"prompt": merge_prompt.VERSION, "attempt": attempt, "error": error_code})
