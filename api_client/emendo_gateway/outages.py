"""Tells the log when Redis is lost and when it is back: a line for each, however many requests are refused."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from redis.exceptions import RedisError

from emendo_config.error_codes import ErrorCode
from emendo_config.errors import EmendoError
from emendo_config.store.scripts import AsyncSender

log = logging.getLogger(__name__)
# Seconds between two looks for Redis, and so between the two lines.
PAUSE = 3.0
_AWAY = frozenset({ErrorCode.NETWORK, ErrorCode.REDIS_LOGIN_REFUSED})


class Outages:
    """Notices that Redis is lost by the errors of requests, and looks for it until it is back.

    Args:
        planes: what sends to each Redis.
    """

    def __init__(self, planes: Mapping[str, AsyncSender]) -> None:
        self._planes = planes
        self._looking: asyncio.Task[None] | None = None

    def notice(self, error: EmendoError) -> None:
        """Called with each error that ends a request."""
        is_known = self._looking is not None and not self._looking.done()
        if error.error_code in _AWAY and not is_known:
            log.warning("requests are refused: %s", error.message)  # which names no address
            self._looking = asyncio.create_task(self._look())

    async def close(self) -> None:
        """Ends the looks."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(PAUSE)
            try:
                for send in self._planes.values():
                    await send([("PING",)])
            except (RedisError, OSError):
                continue
            log.warning("Redis is back")
            return
