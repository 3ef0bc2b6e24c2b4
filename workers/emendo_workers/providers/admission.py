"""Admission to a provider: circuit breaker and rate limiter, asked in one round trip and told in another."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass

import redis

from emendo_client.errors import EmendoError
from emendo_client.providers.embeddings import Embeddings
from emendo_config.store import scripts
from emendo_workers.providers.causes import is_breakdown
from emendo_workers.providers.circuit_breaker import CircuitBreaker
from emendo_workers.providers.rate_limiter import RateLimiter, Reservation


@dataclass(frozen=True, slots=True)
class Admission:
    """Permission to make one call.

    Attributes:
        had_failures: the breaker counts failures, so a success must be reported to it.
    """

    had_failures: bool
    reservation: Reservation


class AdmissionControl:
    """Admits calls to one provider; thread-safe. After each call report `succeeded` or `failed`."""

    def __init__(self, control: redis.Redis, breaker: CircuitBreaker, rate_limiter: RateLimiter) -> None:
        self._control = control
        self._breaker = breaker
        self._rate_limiter = rate_limiter

    @property
    def largest_request(self) -> int:
        """Tokens one request should hold at most; see `RateLimiter.largest_request`."""
        return self._rate_limiter.largest_request

    def admit(self, tokens: int, max_wait: float) -> Admission:
        """Waits for its turn, `max_wait` seconds at most, and admits one call of about so many tokens.

        Raises:
            CircuitOpenError, ThrottledError: not now; `details["retry_after"]` says in how many seconds.
        """
        call = secrets.token_hex(8)
        checked, reserved = scripts.run(
            self._control, [self._breaker.check(), self._rate_limiter.reserve(call, tokens, max_wait)]
        )
        had_failures = self._breaker.read_check(checked)
        reservation = self._rate_limiter.read_reservation(call, tokens, max_wait, reserved)
        if reservation.wait:
            time.sleep(reservation.wait)
        return Admission(had_failures, reservation)

    def admit_harmless(self, max_wait: float) -> Admission:
        """Admits a harmless call, whatever the circuit breaker says: its answer tells whether the breaker is right.

        Raises:
            ThrottledError: not now.
        """
        call = secrets.token_hex(8)
        (reserved,) = scripts.run(self._control, [self._rate_limiter.reserve(call, 1, max_wait)])
        reservation = self._rate_limiter.read_reservation(call, 1, max_wait, reserved)
        if reservation.wait:
            time.sleep(reservation.wait)
        return Admission(had_failures=True, reservation=reservation)

    def succeeded(self, admission: Admission, answer: Embeddings) -> None:
        """Reports a call that succeeded; costs a round trip only when there is something new."""
        reports = [self._breaker.report(None)] if admission.had_failures else []
        reports += self._rate_limiter.after_answer(admission.reservation, answer)
        scripts.run(self._control, reports)

    def failed(self, admission: Admission, error: EmendoError) -> None:
        """Reports a call that failed. One that may have failed over its own texts says nothing of the provider."""
        reports = [] if is_breakdown(error) else [self._breaker.report(error)]
        reports += self._rate_limiter.after_failure(admission.reservation, error)
        scripts.run(self._control, reports)

    def down(self, error: EmendoError, calls: int) -> None:
        """Reports that so many calls failed because the provider is down."""
        scripts.run(self._control, [self._breaker.report(error)] * calls)
