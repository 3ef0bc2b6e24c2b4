"""How many of a process's threads slow work may have at once, so that quick work always finds a free one."""

from __future__ import annotations

import threading
from collections.abc import Callable

# Until the worker says how many threads it has.
FEWEST = 1


class Slots:
    """Slots for drains of one kind; thread-safe.

    A drain that finds none gives its shard up, and is rung for when one is free again. (Should the process die before,
    the shard's bell expires and the sweeper rings.)

    Args:
        ring: rings for a shard.
        most: how many slots there are.
    """

    def __init__(self, ring: Callable[[str], object], most: int = FEWEST) -> None:
        self._ring = ring
        self._most = most
        self._taken = 0
        self._turned_away: dict[str, None] = {}  # in order
        self._lock = threading.Lock()

    def resize(self, most: int) -> None:
        """Sets how many there are."""
        with self._lock:
            self._most = most

    @property
    def is_wanted(self) -> bool:
        """True when somebody waits for one."""
        return bool(self._turned_away)

    def take(self) -> bool:
        """Takes a slot; False when there is none."""
        with self._lock:
            is_free = self._taken < self._most
            self._taken += is_free
            return is_free

    def wait(self, shard: str) -> None:
        """Rings for a shard that found no slot, as soon as there is one."""
        with self._lock:
            is_free = self._taken < self._most
            if not is_free:
                self._turned_away[shard] = None
        if is_free:
            self._ring(shard)

    def give_back(self) -> None:
        """Frees a slot, and rings for the shard that has waited longest."""
        with self._lock:
            self._taken -= 1
            shard = next(iter(self._turned_away), None)
            if shard is not None:
                del self._turned_away[shard]
        if shard is not None:
            self._ring(shard)
