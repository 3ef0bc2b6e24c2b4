"""The chat model as workers call it: behind the circuit breaker they share, and checked when it fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import redis

from emendo_client.errors import EmendoError
from emendo_client.providers.chat import ChatAnswer, ChatModel, Message
from emendo_client.providers.chat.base import A
from emendo_client.providers.harmless import ask_harmless
from emendo_client.providers.openai_errors import CHAT
from emendo_config.error_codes import ErrorCode
from emendo_config.store import scripts
from emendo_workers.jobs.retry import is_lasting
from emendo_workers.providers.causes import explains_itself, is_breakdown, is_refusal
from emendo_workers.providers.circuit_breaker import CircuitBreaker
from emendo_workers.providers.request_counts import CHAT_REQUEST, note_request
from emendo_workers.providers.signs_of_life import SignsOfLife
from emendo_workers.tally import Tally


class GuardedChatModel:
    """A chat model that nobody calls while it is down; thread-safe when the model is.

    A conversation that it refuses, or breaks down over, is no reason to leave it alone: a harmless question decides.

    Args:
        model: asks the provider.
        control: the control Redis.
        breaker: the provider's.
        prober: asks harmless questions, best with a short timeout; default: the model.
        on_fault: called with the error when the provider refuses the key or every question, or the quota is used up.
        tally: counts the questions.
        name: of the model.
    """

    def __init__(
        self,
        model: ChatModel,
        control: redis.Redis,
        breaker: CircuitBreaker,
        prober: ChatModel | None = None,
        on_fault: Callable[[EmendoError], None] = lambda _: None,
        *,
        tally: Tally | None = None,
        name: str = "",
    ) -> None:
        self._described = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": name,
        }
        self._model = model
        self._prober = prober or model
        self._control = control
        self._breaker = breaker
        self._signs = SignsOfLife(lambda: ask_harmless(self._prober), CHAT)
        self._on_fault = on_fault
        self._tally = tally or Tally()

    def ask(
        self, messages: Sequence[Message], answer_type: type[A], *, max_tokens: int, partly: bool = False
    ) -> ChatAnswer[A]:
        """See `ChatModel.ask`.

        Raises:
            CircuitOpenError: the provider has been failing and is left alone for a while.
            ConfigurationError: (PROVIDER_REFUSES) it refuses a harmless question, too.
        """
        known = self._signs.fault
        if known is not None:
            raise known
        had_failures = self._breaker.read_check(scripts.run(self._control, [self._breaker.check()])[0])
        began = time.monotonic()
        try:
            answer = self._model.ask(messages, answer_type, max_tokens=max_tokens, partly=partly)
        except EmendoError as error:
            self._note(began, _tokens(error.details), error)
            failure = self._checked(error)
        else:
            tokens = {"prompt": answer.prompt_tokens, "completion": answer.completion_tokens}
            self._note(began, tokens)
            self._signs.answered(began)
            if had_failures:
                self._report(None)
            return answer
        if is_lasting(failure):
            self._on_fault(failure)
        raise failure

    def probe(self) -> None:
        """Asks a harmless question.

        Raises:
            EmendoError: why no question is answered; PROVIDER_REFUSES if the provider refuses every one.
        """
        self._signs.probe()

    def close(self) -> None:
        """Closes connections."""
        self._model.close()
        self._prober.close()

    def _note(self, began: float, tokens: Mapping[str, int], error: EmendoError | None = None) -> None:
        seconds = time.monotonic() - began
        note_request(self._tally, CHAT_REQUEST, seconds, tokens, error=error, described=self._described)

    def _checked(self, error: EmendoError) -> EmendoError:
        """The error as it is, or that of every question; the circuit breaker is told."""
        if explains_itself(error) or not (is_refusal(error) or is_breakdown(error)):
            self._report(error)
            return error
        verdict = self._signs.check(error)
        if verdict is not None and verdict.is_down:
            self._report(error, calls=2)  # the harmless question failed, too
        else:
            self._report(None)
        if verdict is not None:
            return verdict.error
        if error.error_code == ErrorCode.INFERENCE:  # the first question ever: nothing spoke for the settings until now
            error.error_code = str(ErrorCode.INFERENCE_REFUSED)
            error.suggestion = "leave the refused content out, or add the facts with infer=False"
        return error

    def _report(self, error: EmendoError | None, calls: int = 1) -> None:
        scripts.run(self._control, [self._breaker.report(error)] * calls)


def _tokens(details: Mapping[str, Any]) -> dict[str, int]:
    """The cost of an answer that could not be used."""
    return {
        kind: int(details[name])
        for kind, name in (("prompt", "prompt_tokens"), ("completion", "completion_tokens"))
        if isinstance(details.get(name), int)
    }
