"""The memory of both Redis planes: the sweeper looks at it and announces a full one; a refusal is remembered."""

from __future__ import annotations

import logging
import time

from redis.exceptions import RedisError

from emendo_client.errors import VectorStoreError
from emendo_client.exchanges.redis_errors import out_of_memory
from emendo_config.store import scripts
from emendo_config.store.memory_use import MemoryUse
from emendo_workers.store import Store

logger = logging.getLogger(__name__)

# Sweeps that an announcement outlives. So a worker that takes the sweeper's lease over finds it still standing.
_SWEEPS = 10
# Seconds after a refusal in which changes that need memory are not tried: their vectors would be paid for in vain.
_PAUSE = 1.0


class Room:
    """Whether the memories' Redis refused a change for lack of memory just now."""

    def __init__(self) -> None:
        self._short_until = 0.0

    @property
    def is_short(self) -> bool:
        """True shortly after a refusal."""
        return time.monotonic() < self._short_until

    def note_refusal(self) -> None:
        """A change was refused."""
        if not self.is_short:
            logger.warning("Redis has reached maxmemory; jobs that need memory wait, erasures go on")
        self._short_until = time.monotonic() + _PAUSE


def no_room() -> VectorStoreError:
    """The error of a change that is not tried."""
    return out_of_memory("Redis has reached maxmemory and refuses what needs more")


def announce(store: Store) -> bool:
    """Looks at the memory of both planes and tells `accept.lua` and `append.lua`; True at the watermark."""
    watermark = store.settings.memory_watermark
    planes = {id(connection): connection for connection in (store.data, store.control)}.values()
    try:
        shares = [MemoryUse.read(scripts.run(plane, [("INFO", "memory")])[0]).share for plane in planes]
    except RedisError as error:  # the rest of the sweep needs only the control plane
        logger.debug("the memory of Redis is not known", extra={"error": type(error).__name__})
        return False
    is_full = bool(watermark) and max(shares) >= watermark
    ttl_ms = int(_SWEEPS * store.settings.sweep_interval * 1000)
    command = scripts.announce_full(full=store.keys.full, is_full=is_full, ttl_ms=ttl_ms)
    scripts.run(store.control, [command])
    return is_full
