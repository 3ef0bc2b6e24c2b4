"""The chat model as workers ask it: behind the circuit breaker they share."""

from __future__ import annotations

from collections.abc import Sequence

import redis

from emendo_client.chat import ChatAnswer, ChatModel, Message
from emendo_client.chat.base import A
from emendo_client.errors import EmendoError
from emendo_workers import scripts
from emendo_workers.breaker import Breaker


class GuardedChatModel:
    """A chat model that is left alone while it is down; thread-safe when the model is."""

    def __init__(self, model: ChatModel, control: redis.Redis, breaker: Breaker) -> None:
        self._model = model
        self._control = control
        self._breaker = breaker

    def ask(self, messages: Sequence[Message], answer_type: type[A]) -> ChatAnswer[A]:
        """See `ChatModel.ask`.

        Raises:
            CircuitOpenError: the provider has been failing and is left alone.
        """
        had_failed = self._breaker.allowed(scripts.run(self._control, [self._breaker.ask()])[0])
        try:
            answer = self._model.ask(messages, answer_type)
        except EmendoError as error:
            scripts.run(self._control, [self._breaker.report(error)])
            raise
        if had_failed:
            scripts.run(self._control, [self._breaker.report(None)])
        return answer

    def close(self) -> None:
        """Closes connections."""
        self._model.close()
