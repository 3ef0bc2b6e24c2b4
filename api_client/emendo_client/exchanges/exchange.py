"""Exchanges with Redis without the I/O, written once and run by the blocking and the asyncio client.

An exchange is a generator. It yields a RoundTrip (commands for one Redis, sent in one pipeline), receives the replies,
and returns its result.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from redis.exceptions import RedisError

from emendo_client.errors import EmendoError
from emendo_client.exchanges.redis_errors import without_content
from emendo_config.store.clock import RedisClock
from emendo_config.store.pipeline import Command
from emendo_config.store.scripts import AsyncSender, Sender
from emendo_config.tracebacks import drop_untrusted_causes

T = TypeVar("T")
# The errors that reading a damaged reply can raise. The caller's arguments were checked before the first round trip.
_UNREADABLE = (RedisError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)


class CallerError(Exception):
    """An error of a function that the caller gave to an exchange; the caller gets it as it is."""

    def __init__(self, cause: Exception) -> None:
        super().__init__()
        self.cause = cause


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """Commands for the data Redis or the control Redis, sent together; the replies come back in the same order."""

    plane: Literal["data", "control"]
    commands: list[Command]


Exchange = Generator[RoundTrip, list[Any], T]


def time_of_data(clock: RedisClock) -> Exchange[float]:
    """The time of the data Redis (seconds); it makes a round trip at the first call, and once a minute from then on."""
    if clock.is_due:
        asked_at = time.monotonic()
        (reply,) = yield RoundTrip("data", [("TIME",)])
        clock.learn(reply, asked_at)
    return clock.read()


def run(senders: Mapping[str, Sender], exchange: Exchange[T]) -> T:
    """Runs an exchange, blocking.

    Args:
        senders: the sender of each plane.
        exchange: a new generator.

    Raises:
        NetworkError: Redis could not be reached in time.
        VectorStoreError: Redis refused a command; or (RECORD_UNREADABLE) a stored document is damaged.
    """
    try:
        trip = next(exchange)
        while True:
            trip = exchange.send(senders[trip.plane](trip.commands))
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # an Exchange[T] returns T
    except CallerError as error:
        failure: Exception = error.cause
    except EmendoError as error:
        drop_untrusted_causes(error)
        raise
    except _UNREADABLE as error:
        failure = without_content(error)
    raise failure


async def run_async(senders: Mapping[str, AsyncSender], exchange: Exchange[T]) -> T:
    """The asyncio twin of `run`."""
    try:
        trip = next(exchange)
        while True:
            trip = exchange.send(await senders[trip.plane](trip.commands))
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # an Exchange[T] returns T
    except CallerError as error:
        failure: Exception = error.cause
    except EmendoError as error:
        drop_untrusted_causes(error)
        raise
    except _UNREADABLE as error:
        failure = without_content(error)
    raise failure
