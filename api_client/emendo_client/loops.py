"""One value for each event loop: what asyncio opened in one loop cannot be used in another."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from emendo_config.forks import leave_to_the_parent, notice_fork, reset_in_children

T = TypeVar("T")


class PerLoop(Generic[T]):
    """Values that are made at their first use in a loop, and dropped some time after the loop was closed.

    Thread-safe. A forked process begins without values.

    Args:
        make: makes a value for the running loop.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._values: dict[asyncio.AbstractEventLoop, T] = {}
        self._lock = threading.Lock()
        reset_in_children(self)

    def reset_after_fork(self) -> None:
        """The parent's values stay with the parent."""
        leave_to_the_parent(self._values)
        self._values = {}
        self._lock = threading.Lock()

    def get(self) -> T:
        """The running loop's value."""
        notice_fork()
        loop = asyncio.get_running_loop()
        with self._lock:
            if loop not in self._values:
                self._values = {each: value for each, value in self._values.items() if not each.is_closed()}
                self._values[loop] = self._make()
            return self._values[loop]

    def pop(self) -> T | None:
        """Takes the running loop's value out, for instance to close it. None: it was never made."""
        with self._lock:
            return self._values.pop(asyncio.get_running_loop(), None)
