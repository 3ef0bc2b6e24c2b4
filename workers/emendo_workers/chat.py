"""The chat model as workers ask it: behind the circuit breaker they share."""

from __future__ import annotations

from collections.abc import Sequence

from emendo_client.chat import ChatAnswer, ChatModel, Message
from emendo_client.chat.base import A
from emendo_client.errors import EmendoError
from emendo_workers.breaker import Breaker

# What its breaker is called.
PROVIDER = "chat"


class GuardedChatModel:
    """A chat model that is left alone while it is down; thread-safe when the model is."""

    def __init__(self, model: ChatModel, breaker: Breaker) -> None:
        self._model = model
        self._breaker = breaker

    def ask(self, messages: Sequence[Message], answer_type: type[A]) -> ChatAnswer[A]:
        """See `ChatModel.ask`.

        Raises:
            CircuitOpenError: the provider has been failing and is left alone.
        """
        had_failed = self._breaker.ask()
        try:
            answer = self._model.ask(messages, answer_type)
        except EmendoError as error:
            self._breaker.report(error)
            raise
        if had_failed:
            self._breaker.report(None)
        return answer

    def close(self) -> None:
        """Closes connections."""
        self._model.close()
