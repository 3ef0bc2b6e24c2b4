"""Scripts about providers: the circuit breaker and the rate limiter that all workers share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from emendo_config.store.scripts.declaration import Key, Number, OptionalNumber, script


@script(reply=int, at_limit=True)
def breaker(
    *, breaker: Key, word: str, failures: Number, pause_ms: Number, longest_ms: Number, probe_ms: Number
) -> None:
    """Replies 0: call; -1: call, and report a success, too; else how long to wait (ms).

    Args:
        breaker: the provider's.
        word: ask, ok or failed.
        failures: in a row, that open the breaker.
        pause_ms, longest_ms: the first pause, and the longest.
        probe_ms: how long a probe may take.
    """


class Reserved(NamedTuple):
    """A turn, or none.

    Attributes:
        wait_ms: until the turn.
        is_reserved: False when nothing is limited, or the wait is too long.
        requests, tokens: a minute, as the provider last told; 0 for no limit.
    """

    wait_ms: int
    is_reserved: bool
    requests: int
    tokens: int

    @classmethod
    def read(cls, raw: Sequence[Any]) -> Reserved:
        """From the reply of Redis."""
        wait_ms, is_reserved, requests, tokens = map(int, raw)
        return cls(wait_ms, bool(is_reserved), requests, tokens)


@script(reply=Reserved.read, at_limit=True)
def reserve(
    *,
    rate_limit: Key,
    reservation: Key,
    breaker: Key,
    request_limit: Number,
    token_limit: Number,
    tokens: Number,
    longest_ms: Number,
    burst_ms: Number,
    reservation_ttl_ms: int,
    idle_ttl_ms: Number,
    share: Number,
) -> None:
    """Reserves one request and its tokens.

    Args:
        rate_limit, breaker: the provider's limits and breaker.
        reservation: this call's own key.
        request_limit, token_limit: a minute, by the settings; 0 for none.
        tokens: to reserve.
        longest_ms: a longer wait reserves nothing.
        burst_ms: how much unused allowance is kept, as time at the limit.
        reservation_ttl_ms, idle_ttl_ms: how long the reservation, and an unused rate limit, are kept.
        share: of the limits that the caller's class may use; 1 for all of them.
    """


@script(reply=bool, at_limit=True)
def adjust(
    *,
    rate_limit: Key,
    reservation: Key,
    request_limit: Number,
    token_limit: Number,
    overrun_ms: Number,
    requests_left_ms: OptionalNumber,
    tokens_left_ms: OptionalNumber,
    pause_ms: Number,
    request_ms: Number,
    token_ms: Number,
    reservation_ttl_ms: int,
    idle_ttl_ms: Number,
    share: Number,
) -> None:
    """True, unless this answer was learnt from before.

    Args:
        rate_limit, reservation: as for `reserve`.
        request_limit, token_limit: a minute, as the provider tells; 0 for none.
        overrun_ms: tokens used beyond the reserved ones, as time at the limit; negative gives back.
        requests_left_ms, tokens_left_ms: the remaining allowance, as time at the limit; None when it is not known.
        pause_ms: how long all workers pause.
        request_ms, token_ms: one request and one token, as time at the limit; 0 without a limit.
        reservation_ttl_ms, idle_ttl_ms, share: as for `reserve`.
    """
