"""Requests in a minute, counted in the control Redis for all gateways together by the library `limits`.

A window begins with its first request, so counting takes one round trip: the count itself tells what is left.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import NamedTuple, TypeVar

from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError, RedisError

from emendo_client.exchanges.redis_errors import translate
from emendo_config import Keys

WINDOW = 60  # seconds
_MOST_KNOWN = 10_000
T = TypeVar("T")


class Used(NamedTuple):
    """How much of a limit is used.

    Attributes:
        is_within: False when this request was beyond the limit.
        remaining: requests that are left now.
        reset: seconds until the window ends.
    """

    is_within: bool
    remaining: int
    reset: float


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

    async def count(self, kind: str, name: str, limit: int) -> Used:
        """Counts one more. A full Redis counts nothing, and refuses by itself what takes memory.

        Raises:
            NetworkError: Redis cannot be asked.
        """
        key = RateLimitItemPerMinute(limit).key_for(kind, name)
        try:
            used = await self._storage.incr(key, WINDOW)
        except OutOfMemoryError:  # readers and erasures must pass
            return await self.look(kind, name, limit)
        except RedisError as error:
            raise translate(error) from error
        return Used(used <= limit, max(0, limit - used), await self._reset(key, is_new=used == 1))

    async def look(self, kind: str, name: str, limit: int) -> Used:
        """How much is used; counts nothing.

        Raises:
            NetworkError: Redis cannot be asked.
        """
        key = RateLimitItemPerMinute(limit).key_for(kind, name)
        used = await _translated(self._storage.get(key))
        if not used:
            return Used(True, limit, 0.0)
        return Used(used < limit, max(0, limit - used), await self._reset(key, is_new=False))

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


async def _translated(call: Awaitable[T]) -> T:
    try:
        return await call
    except RedisError as error:
        raise translate(error) from error
