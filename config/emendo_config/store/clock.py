"""The time by Redis' clock, which decides for all processes what has expired, who is alive and what is due."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import redis

# Seconds after which Redis is asked again: clocks drift by far less than a second in that time.
REFRESH = 60.0


class RedisClock:
    """The time of one Redis, from its last answer to TIME and this machine's monotonic clock; thread-safe.

    The wall clock of this machine is never read. So a reader whose clock is wrong sees what all others see.
    """

    def __init__(self) -> None:
        self._answer: tuple[float, float] | None = None

    @property
    def is_due(self) -> bool:
        """True when Redis is to be asked before the clock is read."""
        return self._answer is None or time.monotonic() - self._answer[1] > REFRESH

    def learn(self, reply: Sequence[Any], asked_at: float) -> None:
        """Takes note of an answer.

        Args:
            reply: to TIME: seconds and microseconds.
            asked_at: on the monotonic clock, before the question; so the clock is never behind Redis'.
        """
        self._answer = (seconds_of(reply), asked_at)

    def read(self) -> float:
        """Seconds since the epoch, by an answer that may be old.

        Raises:
            ValueError: Redis was never asked.
        """
        if self._answer is None:
            raise ValueError("Redis was not asked for its time yet")
        told, asked_at = self._answer
        return told + time.monotonic() - asked_at

    def now(self, connection: redis.Redis) -> float:
        """Seconds since the epoch. It asks Redis at the first call, and once a minute from then on."""
        if self.is_due:
            asked_at = time.monotonic()
            self.learn(connection.time(), asked_at)
        return self.read()


def seconds_of(reply: Sequence[Any]) -> float:
    """Redis' reply to TIME as seconds since the epoch."""
    return int(reply[0]) + int(reply[1]) / 1_000_000
