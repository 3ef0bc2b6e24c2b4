"""Pacing: all workers together stay under the provider's requests and tokens per minute.

A token bucket in Redis that every call reserves from before it is made, and that the answers' headers correct.
The lower of the settings and what the provider says counts; where neither names a limit nobody waits.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from typing import NamedTuple

from emendo_client.embeddings import Embeddings
from emendo_client.errors import EmendoError, QuotaExceededError, RateLimitError, ThrottledError
from emendo_client.rate_limits import Allowance, RateLimitState
from emendo_config import Keys, Settings
from emendo_workers import scripts

logger = logging.getLogger(__name__)

# What the bucket holds, in seconds of the limit: an idle minute must not be spent at once. A request may owe as much
# again (`largest_request`), so that any stretch of time sees its share and about 5 seconds' worth at most.
BURST = 2.5
# A header of nonsense must not stop embedding for good (seconds).
LONGEST_PAUSE = 3_600.0
# A pace nobody uses is forgotten after so long, and what the provider said with it (seconds).
IDLE_TTL = 3_600
_MINUTE_MS = 60_000.0


class Limits(NamedTuple):
    """Per minute, 0 for none."""

    requests: int = 0
    tokens: int = 0

    def lower(self, other: Limits) -> Limits:
        """The lower of both, each by itself; no limit is the highest."""
        return Limits(*(min(filter(None, pair), default=0) for pair in zip(self, other, strict=True)))


@dataclass(frozen=True, slots=True)
class Reservation:
    """Leave to make one call.

    Attributes:
        id: a call's own.
        wait: seconds until its turn, to be slept before the call.
        tokens: how many were reserved; None when nothing is limited, so that nothing was.
        told: what the provider had said of its limits until then.
    """

    id: str
    wait: float
    tokens: int | None
    told: Limits


class Pacer:
    """One provider's pace; builds commands for the control plane and reads their replies; thread-safe.

    One bucket serves all who call the provider.

    Args:
        share: of the limits, which this pacer's callers may use; below 1 they leave room for others (see `pace.lua`).
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
        # redis-py repeats a command whose reply was lost: three tries, each at most the timeout, and short pauses.
        self._mark_ttl_ms = int(4_000 * settings.redis_timeout)

    @property
    def largest_request(self) -> int:
        """How many tokens one request should hold at most, by the limits last seen.

        As many as the bucket (its share of it), or as the even part of a request where few requests are allowed.
        """
        requests, tokens = self._limits
        if not tokens:
            return sys.maxsize
        part = tokens / requests if requests else 0.0
        return max(1, int(max(self._share * _capacity(tokens), part)))

    def reserve(self, reservation_id: str, tokens: int, longest_wait: float) -> scripts.Command:
        """Asks for one request of about so many tokens, unless its turn is more than `longest_wait` seconds away."""
        return scripts.pace(
            self._keys.pace(self._provider),
            self._keys.paced(self._provider, reservation_id),
            self._keys.breaker(self._provider),
            limits=self._settings,
            tokens=tokens,
            longest_ms=int(longest_wait * 1_000),
            burst_ms=int(BURST * 1_000),
            mark_ttl_ms=self._mark_ttl_ms,
            idle_ttl_ms=IDLE_TTL * 1_000,
            share=self._share,
        )

    def reserved(self, reservation_id: str, tokens: int, longest_wait: float, reply: list[int]) -> Reservation:
        """Reads the reply to `reserve`.

        Raises:
            ThrottledError: nothing was reserved; `details["retry_after"]` says in how many seconds to come back.
        """
        wait, is_reserved, *told = (int(value) for value in reply)
        said = Limits(*told)
        self._limits = self._settings.lower(said)
        if wait > int(longest_wait * 1_000):
            raise ThrottledError(
                f"the {self._provider} provider's rate limit leaves no room just now",
                details={"retry_after": wait / 1_000},
            )
        return Reservation(reservation_id, wait / 1_000, tokens if is_reserved else None, said)

    def answered(self, reservation: Reservation, answer: Embeddings) -> list[scripts.Command]:
        """What is to be learnt from an answer; nothing when it says nothing new."""
        state = answer.rate_limits
        said = Limits(state.requests.limit or 0, state.tokens.limit or 0)
        limits = self._settings.lower(said)
        overrun = 0
        if reservation.tokens is not None and answer.tokens and limits.tokens:
            overrun = answer.tokens - reservation.tokens
        scarce = _scarce(state.requests, limits.requests) or _scarce(state.tokens, limits.tokens)
        if said == reservation.told and not overrun and not scarce:
            return []
        if said != reservation.told:
            logger.info("the provider's rate limits changed", extra={"provider": self._provider, **said._asdict()})
        return [self._learn(reservation, said, state, overrun=overrun)]

    def failed(self, reservation: Reservation, error: EmendoError) -> list[scripts.Command]:
        """What is to be learnt from a failed call; nothing when it was not refused for being too fast.

        Its tokens stay reserved: whether the provider counted them is not known.
        """
        if not isinstance(error, RateLimitError) or isinstance(error, QuotaExceededError):
            return []
        state, told = error.rate_limits, reservation.told
        asked = state.exhausted_for if error.retry_after is None else error.retry_after
        pause = min(asked or 0.0, LONGEST_PAUSE)
        # A refusal may come from something in front of the provider; its silence takes no limit back.
        said = Limits(state.requests.limit or told.requests, state.tokens.limit or told.tokens)
        logger.warning("the provider asks to slow down", extra={"provider": self._provider, "pause": pause})
        return [self._learn(reservation, said, state, pause=pause)]

    def _learn(
        self, reservation: Reservation, said: Limits, state: RateLimitState, *, overrun: int = 0, pause: float = 0.0
    ) -> scripts.Command:
        self._limits = self._settings.lower(said)
        request_ms, token_ms = (_MINUTE_MS / limit if limit else 0.0 for limit in self._limits)
        return scripts.learn(
            self._keys.pace(self._provider),
            self._keys.paced(self._provider, reservation.id),
            limits=said,
            overrun_ms=overrun * token_ms,
            remaining_ms=(_time_at(state.requests, request_ms), _time_at(state.tokens, token_ms)),
            pause_ms=int(pause * 1_000),
            unit_ms=(request_ms, token_ms),
            mark_ttl_ms=self._mark_ttl_ms,
            idle_ttl_ms=IDLE_TTL * 1_000,
            share=self._share,
        )


def _capacity(limit: int) -> float:
    """What the bucket of a limit holds: always at least one."""
    return max(1.0, limit * BURST / 60)


def _scarce(allowance: Allowance, limit: int) -> bool:
    """True when less remains than a full bucket: only then can it lower the bucket."""
    return bool(limit) and allowance.remaining is not None and allowance.remaining < _capacity(limit)


def _time_at(allowance: Allowance, unit_ms: float) -> float | None:
    """What remains, as time at the limit (ms); None when it is not known or there is no limit."""
    return allowance.remaining * unit_ms if allowance.remaining is not None and unit_ms else None
