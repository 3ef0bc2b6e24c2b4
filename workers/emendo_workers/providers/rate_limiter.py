"""The rate limiter: all workers together stay under the provider's requests and tokens per minute.

Every call first reserves from a token bucket in Redis, and the headers of answers correct the bucket. If both the
settings and the provider name a limit, the lower one applies. If neither does, no call waits.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from emendo_client.errors import EmendoError, QuotaExceededError, RateLimitError, ThrottledError
from emendo_client.providers.embeddings import Embeddings
from emendo_client.rate_limits import Allowance, RateLimitState
from emendo_config import Keys, Settings
from emendo_config.store import scripts

logger = logging.getLogger(__name__)

# The capacity of the bucket, in seconds of the limit: an idle minute must not be spent at once. A request may owe as
# much again (`largest_request`). So any period sees its share of the limit and about 5 seconds' worth more.
BURST = 2.5
# The longest pause a refusal may ask for (seconds): a wrong header must not stop embedding for good.
MAX_PAUSE = 3_600.0
# Seconds without a call after which the bucket and the limits that the provider stated are forgotten.
IDLE_TTL = 3_600
_MINUTE_MS = 60_000.0


class Limits(NamedTuple):
    """Limits per minute; 0 for none."""

    requests: int = 0
    tokens: int = 0

    def lower(self, other: Limits) -> Limits:
        """The lower limit of both, separately for requests and tokens; no limit counts as the highest."""
        return Limits(*(min(filter(None, pair), default=0) for pair in zip(self, other, strict=True)))


@dataclass(frozen=True, slots=True)
class Reservation:
    """Permission to make one call.

    Attributes:
        id: of this call alone.
        wait: seconds until its turn, to be slept before the call.
        tokens: how many were reserved; None when there is no limit, so that nothing was.
        stated: the limits that the provider had stated until then.
    """

    id: str
    wait: float
    tokens: int | None
    stated: Limits


class RateLimiter:
    """One provider's limits; builds commands for the control plane and reads their replies; thread-safe.

    All callers of the provider share one bucket.

    Args:
        keys, settings: the worker's.
        provider: its name, which tells the buckets apart.
        share: part of the limits that these callers may use; below 1 it leaves room for others (see `reserve.lua`).
    """

    def __init__(self, keys: Keys, settings: Settings, provider: str, share: float = 1.0) -> None:
        self._keys = keys
        self._provider = provider
        self._share = share
        self._settings = Limits(
            settings.embedding_requests_per_minute or 0,
            settings.embedding_tokens_per_minute or 0,
        )
        self._limits = self._settings
        # redis-py repeats a command whose reply was lost: three tries of at most the timeout each, and short pauses.
        self._reservation_ttl_ms = int(4_000 * settings.redis_timeout)

    @property
    def largest_request(self) -> int:
        """Tokens one request should hold at most, by the limits last seen.

        It is the callers' share of the bucket, or one request's even part of the tokens where few requests are allowed.
        """
        requests, tokens = self._limits
        if not tokens:
            return sys.maxsize
        part = tokens / requests if requests else 0.0
        return max(1, int(max(self._share * _capacity(tokens), part)))

    def reserve(self, reservation_id: str, tokens: int, max_wait: float) -> scripts.Command:
        """Reserves one request of about so many tokens, unless its turn is more than `max_wait` seconds away."""
        return scripts.reserve(
            rate_limit=self._keys.rate_limit(self._provider),
            reservation=self._keys.reservation(self._provider, reservation_id),
            breaker=self._keys.breaker(self._provider),
            request_limit=self._settings.requests,
            token_limit=self._settings.tokens,
            tokens=tokens,
            longest_ms=int(max_wait * 1_000),
            burst_ms=int(BURST * 1_000),
            reservation_ttl_ms=self._reservation_ttl_ms,
            idle_ttl_ms=IDLE_TTL * 1_000,
            share=self._share,
        )

    def read_reservation(self, reservation_id: str, tokens: int, max_wait: float, reply: Sequence[Any]) -> Reservation:
        """Reads the reply to `reserve`.

        Raises:
            ThrottledError: nothing was reserved; `details["retry_after"]` says in how many seconds to come back.
        """
        wait, is_reserved, *limits = scripts.reserve.reply(reply)
        stated = Limits(*limits)
        self._limits = self._settings.lower(stated)
        if wait > int(max_wait * 1_000):
            raise ThrottledError(
                f"the {self._provider} provider's rate limit leaves no room just now",
                details={"retry_after": wait / 1_000},
            )
        return Reservation(reservation_id, wait / 1_000, tokens if is_reserved else None, stated)

    def after_answer(self, reservation: Reservation, answer: Embeddings) -> list[scripts.Command]:
        """The adjustment after an answer; no command when the answer says nothing new."""
        state = answer.rate_limits
        stated = Limits(state.requests.limit or 0, state.tokens.limit or 0)
        limits = self._settings.lower(stated)
        overrun = 0
        if reservation.tokens is not None and answer.tokens and limits.tokens:
            overrun = answer.tokens - reservation.tokens
        scarce = _scarce(state.requests, limits.requests) or _scarce(state.tokens, limits.tokens)
        if stated == reservation.stated and not overrun and not scarce:
            return []
        if stated != reservation.stated:
            logger.info("the provider's rate limits changed", extra={"provider": self._provider, **stated._asdict()})
        return [self._adjust(reservation, stated, state, overrun=overrun)]

    def after_failure(self, reservation: Reservation, error: EmendoError) -> list[scripts.Command]:
        """The adjustment after a failed call; no command unless the provider asked to slow down.

        Its tokens stay reserved, since nobody knows whether the provider counted them.
        """
        if not isinstance(error, RateLimitError) or isinstance(error, QuotaExceededError):
            return []
        state, known = error.rate_limits, reservation.stated
        asked = state.exhausted_for if error.retry_after is None else error.retry_after
        pause = min(asked or 0.0, MAX_PAUSE)
        # A refusal may come from a proxy in front of the provider: if it states no limit, the known one stays.
        stated = Limits(state.requests.limit or known.requests, state.tokens.limit or known.tokens)
        logger.warning("the provider asks to slow down", extra={"provider": self._provider, "pause": pause})
        return [self._adjust(reservation, stated, state, pause=pause)]

    def _adjust(
        self, reservation: Reservation, stated: Limits, state: RateLimitState, *, overrun: int = 0, pause: float = 0.0
    ) -> scripts.Command:
        self._limits = self._settings.lower(stated)
        request_ms, token_ms = (_MINUTE_MS / limit if limit else 0.0 for limit in self._limits)
        return scripts.adjust(
            rate_limit=self._keys.rate_limit(self._provider),
            reservation=self._keys.reservation(self._provider, reservation.id),
            request_limit=stated.requests,
            token_limit=stated.tokens,
            overrun_ms=overrun * token_ms,
            requests_left_ms=_time_at(state.requests, request_ms),
            tokens_left_ms=_time_at(state.tokens, token_ms),
            pause_ms=int(pause * 1_000),
            request_ms=request_ms,
            token_ms=token_ms,
            reservation_ttl_ms=self._reservation_ttl_ms,
            idle_ttl_ms=IDLE_TTL * 1_000,
            share=self._share,
        )


def _capacity(limit: int) -> float:
    """The capacity of a limit's bucket, at least one."""
    return max(1.0, limit * BURST / 60)


def _scarce(allowance: Allowance, limit: int) -> bool:
    """True when less remains than a full bucket holds; only then can it lower the bucket."""
    return bool(limit) and allowance.remaining is not None and allowance.remaining < _capacity(limit)


def _time_at(allowance: Allowance, unit_ms: float) -> float | None:
    """The remaining allowance, in milliseconds at the limit; None when it is not known or there is no limit."""
    return allowance.remaining * unit_ms if allowance.remaining is not None and unit_ms else None
