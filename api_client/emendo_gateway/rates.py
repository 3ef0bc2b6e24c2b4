"""Requests in a minute, counted in the control Redis for all gateways together by the library `limits`.

A window begins with its first request, so counting takes one round trip: the count itself tells what is left. Requests
of one key that come while a count is under way are counted together by the next one. Each still has its own place in
the window, so the limit is exact over all gateways, however many requests share a round trip.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable
from typing import NamedTuple, TypeVar

from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError, RedisError

from emendo_client.exchanges.redis_errors import translate
from emendo_config import Keys

log = logging.getLogger(__name__)
WINDOW = 60  # seconds
_MOST_KNOWN = 10_000
T = TypeVar("T")


class Used(NamedTuple):
    """How much of a limit is used.

    Attributes:
        is_within: False when this request was beyond the limit.
        remaining: requests that are left now.
        reset: seconds until the window ends.
        is_counted: False when Redis was too full to count it.
    """

    is_within: bool
    remaining: int
    reset: float
    is_counted: bool = True


class Rates:
    """Counts what happens in a minute.

    Args:
        connection: to the control Redis; its pool is shared.
    """

    def __init__(self, connection: Redis, keys: Keys) -> None:
        self._storage = RedisStorage(
            "async+redis://",  # unused, because the pool is given
            implementation="redispy",
            key_prefix=keys.gateway_rates,
            connection_pool=connection.connection_pool,  # type: ignore[arg-type]
        )
        # When windows end, by the monotonic clock.
        self._ends: dict[str, float] = {}
        # Those that wait to be counted, by key, as long as a task counts under the key.
        self._waiting: dict[str, list[asyncio.Future[int]]] = {}
        self._counting: set[asyncio.Task[None]] = set()

    async def count(self, kind: str, name: str, limit: int) -> Used:
        """Counts one more. A full Redis counts nothing, and refuses by itself what takes memory.

        Raises:
            NetworkError: Redis cannot be asked.
        """
        key = RateLimitItemPerMinute(limit).key_for(kind, name)
        loop = asyncio.get_running_loop()
        counted = loop.create_future()
        if key in self._waiting:
            self._waiting[key].append(counted)
        else:
            self._waiting[key] = [counted]
            # A task of its own counts: if one request is cancelled, the others still get their places.
            task = loop.create_task(self._count(key))
            self._counting.add(task)
            task.add_done_callback(self._counting.discard)
        try:
            used = await counted
        except OutOfMemoryError:  # readers and erasures must pass
            return await self._look(key, limit)
        except RedisError as error:
            raise translate(error) from error
        return Used(used <= limit, max(0, limit - used), await self._reset(key, is_new=used == 1))

    async def give_back(self, kind: str, name: str, limit: int) -> None:
        """Takes one that was counted out of the window.

        Raises:
            NetworkError: Redis cannot be asked.
        """
        try:
            await self._storage.incr(RateLimitItemPerMinute(limit).key_for(kind, name), WINDOW, -1)
        except OutOfMemoryError:
            log.warning("Redis is full, so an attempt that was no failure stays counted for %d s at most", WINDOW)
        except RedisError as error:
            raise translate(error) from error

    async def _look(self, key: str, limit: int) -> Used:
        used = await _translated(self._storage.get(key))
        reset = await self._reset(key, is_new=False) if used else 0.0
        return Used(used < limit, max(0, limit - used), reset, is_counted=False)

    async def _count(self, key: str) -> None:
        """Gives those that wait their places, until nobody does."""
        group: list[asyncio.Future[int]] = []
        try:
            while group := [each for each in self._waiting[key] if not each.done()]:
                self._waiting[key] = []
                try:
                    last = await self._storage.incr(key, WINDOW, len(group))
                except Exception as error:  # noqa: BLE001  # raised where the request waits
                    _tell(group, error)
                else:
                    _tell(group, last - len(group) + 1)
        finally:
            for each in (*group, *self._waiting.pop(key)):
                each.cancel()  # does nothing to one that was told

    async def _reset(self, key: str, *, is_new: bool) -> float:
        """Seconds until the window ends; Redis is asked only for a window that another gateway began."""
        now = time.monotonic()
        ends = self._ends.get(key, 0.0)
        if is_new:
            ends = now + WINDOW
        elif ends <= now:
            ends = now + min(max(await _translated(self._storage.get_expiry(key)) - time.time(), 0.0), WINDOW)
        if len(self._ends) >= _MOST_KNOWN:
            self._ends.clear()
        self._ends[key] = ends
        return ends - now


def _tell(group: list[asyncio.Future[int]], outcome: int | Exception) -> None:
    """Tells each its place, from that of the first one, or the error."""
    for index, each in enumerate(group):
        if each.done():
            continue
        if isinstance(outcome, int):
            each.set_result(outcome + index)
        else:
            each.set_exception(outcome)


async def _translated(call: Awaitable[T]) -> T:
    try:
        return await call
    except RedisError as error:
        raise translate(error) from error
