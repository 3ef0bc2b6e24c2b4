"""Merging two texts through the chat model."""

from __future__ import annotations

import logging
from typing import Protocol

from emendo_client import validation
from emendo_client.chat import ChatModel
from emendo_client.chat.base import UNUSABLE
from emendo_client.errors import InferenceError, ValidationError
from emendo_config import Settings
from emendo_workers.prompts import merge
from emendo_workers.reconcile import Texts

logger = logging.getLogger(__name__)

# How often the model is asked before a person is.
ATTEMPTS = 2


class Merger(Protocol):
    """Brings together what two writers made of one text."""

    def merge(self, texts: Texts) -> str | None:
        """The merged text; None when a person must decide.

        Raises:
            NetworkError, RateLimitError: trying again later may help.
        """
        ...


class ChatMerger:
    """Asks a chat model, once more when its answer is of no use, and then leaves it to a person."""

    def __init__(self, chat: ChatModel, settings: Settings) -> None:
        self._chat = chat
        self._settings = settings

    def merge(self, texts: Texts) -> str | None:
        """See `Merger.merge`.

        Raises:
            AuthenticationError, InferenceError: the provider would refuse every question (a key, a model's name).
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._ask(texts)
            except InferenceError as error:
                if error.error_code not in UNUSABLE:
                    raise
                logger.warning(
                    "the chat model's answer is of no use",
                    extra={"prompt": merge.VERSION, "attempt": attempt, "error": error.error_code},
                )
            except ValidationError as error:  # an answer, but no text a memory may have
                logger.warning(
                    "the chat model's answer is no memory text",
                    extra={"prompt": merge.VERSION, "attempt": attempt, "error": error.error_code},
                )
        return None

    def _ask(self, texts: Texts) -> str | None:
        answer = self._chat.ask(merge.messages(texts), merge.MergedText)
        merged = answer.document.text
        logger.info(
            "two texts were merged" if merged is not None else "two texts contradict each other",
            extra={
                "prompt": merge.VERSION,
                "prompt_tokens": answer.prompt_tokens,
                "completion_tokens": answer.completion_tokens,
            },
        )
        return None if merged is None else validation.text(merged.strip(), "text", self._settings)
