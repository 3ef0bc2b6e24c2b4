"""Limits how many of a process's threads slow work may occupy, so that quick work always finds a free one."""

from __future__ import annotations

import threading
from collections.abc import Callable

from emendo_config.shards import is_imported

# The limit until the worker knows how many threads it has, and the lowest one it sets.
MIN_LIMIT = 1


class ConcurrencyLimiter:
    """Limits how many drains of one kind run at once; thread-safe.

    A drain beyond the limit gives its shard back. The next drain that ends hands its slot over to that shard, or wakes
    it. If the process dies before, the shard's wake-up expires and the sweeper wakes it again.

    Args:
        notify: wakes a shard.
        limit: how many drains may run.
    """

    def __init__(self, notify: Callable[[str], object], limit: int = MIN_LIMIT) -> None:
        self._notify = notify
        self._limit = limit
        self._in_use = 0
        self._waiting: dict[str, None] = {}  # in order
        self._lock = threading.Lock()

    def set_limit(self, limit: int) -> None:
        """Changes the limit."""
        with self._lock:
            self._limit = limit

    @property
    def has_waiting(self) -> bool:
        """True when a shard waits for its turn."""
        return bool(self._waiting)

    def try_acquire(self) -> bool:
        """Counts one more drain; False when the limit is reached."""
        with self._lock:
            is_free = self._in_use < self._limit
            self._in_use += is_free
            return is_free

    def notify_when_free(self, shard: str) -> None:
        """Wakes the shard as soon as its drain may run, which may be at once."""
        with self._lock:
            is_free = self._in_use < self._limit
            if not is_free:
                self._waiting[shard] = None
        if is_free:
            self._notify(shard)

    def release(self) -> None:
        """Counts one drain less, and wakes the shard that has waited longest; imported conversations come last."""
        with self._lock:
            self._in_use -= 1
            shard = self._take_first()
        if shard is not None:
            self._notify(shard)

    def hand_over(self) -> str | None:
        """The shard that `release` would wake. The slot is its now; the caller works it. If none waits, it is free.

        A wake-up takes its time at the broker. Meanwhile another shard could take the slot.
        """
        with self._lock:
            shard = self._take_first()
            self._in_use -= shard is None
            return shard

    def _take_first(self) -> str | None:
        shard = min(self._waiting, key=is_imported, default=None)
        if shard is not None:
            del self._waiting[shard]
        return shard
