"""The gate in front of a provider: circuit breaker and pace, asked in one round trip and told in another."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass

import redis

from emendo_client.embeddings import Embeddings
from emendo_client.errors import EmendoError
from emendo_workers import scripts
from emendo_workers.breaker import Breaker
from emendo_workers.pacing import Pacer, Reservation


@dataclass(frozen=True, slots=True)
class Admission:
    """Leave to make one call; `had_failed` when its success is worth telling the breaker."""

    had_failed: bool
    reservation: Reservation


class Gate:
    """One provider's gate; thread-safe. Who is let in tells how it went: `answered` or `failed`."""

    def __init__(self, control: redis.Redis, breaker: Breaker, pacer: Pacer) -> None:
        self._control = control
        self._breaker = breaker
        self._pacer = pacer

    @property
    def largest_request(self) -> int:
        """How many tokens one request should hold at most; see `Pacer.largest_request`."""
        return self._pacer.largest_request

    def enter(self, tokens: int, longest_wait: float) -> Admission:
        """Returns when one call of about so many tokens may be made, which is within `longest_wait` seconds.

        Raises:
            CircuitOpenError, ThrottledError: not now; `details["retry_after"]` says in how many seconds.
        """
        call = secrets.token_hex(8)
        asked, reserved = scripts.run(
            self._control, [self._breaker.ask(), self._pacer.reserve(call, tokens, longest_wait)]
        )
        had_failed = self._breaker.allowed(asked)
        reservation = self._pacer.reserved(call, tokens, longest_wait, reserved)
        if reservation.wait:
            time.sleep(reservation.wait)
        return Admission(had_failed, reservation)

    def answered(self, admission: Admission, answer: Embeddings) -> None:
        """Says that the call succeeded; costs a round trip only when there is something to say."""
        news = [self._breaker.report(None)] if admission.had_failed else []
        news += self._pacer.answered(admission.reservation, answer)
        scripts.run(self._control, news)

    def failed(self, admission: Admission, error: EmendoError) -> None:
        """Says that the call failed."""
        scripts.run(self._control, [self._breaker.report(error), *self._pacer.failed(admission.reservation, error)])
