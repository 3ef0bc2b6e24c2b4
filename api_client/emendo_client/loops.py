"""One value for each event loop: what asyncio opened in one loop cannot be used in another."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import Generic, TypeVar

from emendo_config.forks import leave_to_the_parent, notice_fork, reset_in_children

T = TypeVar("T")


class PerLoop(Generic[T]):
    """Values that are made at their first use in a loop, and closed when the loop shuts its generators down.

    `asyncio.run` does that before it closes its loop, and so do servers. Values of a loop that was closed without that
    are dropped at a later use.

    Thread-safe. A forked process begins without values.

    Args:
        make: makes a value for the running loop.
        close: closes a value, in its loop.
    """

    def __init__(self, make: Callable[[], T], close: Callable[[T], Awaitable[None]]) -> None:
        self._make = make
        self._close = close
        self._values: dict[asyncio.AbstractEventLoop, tuple[T, AsyncGenerator[None]]] = {}
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
        known = self._values.get(loop)
        if known is not None:  # only this thread runs the loop, so nobody else changes its value
            return known[0]
        made = self._make()
        closing = self._closing(loop, made)
        # Begun here, so that the loop knows it; it yields at once.
        with suppress(StopIteration):
            closing.asend(None).send(None)
        with self._lock:
            others = {each: value for each, value in self._values.items() if not each.is_closed()}
            self._values = {**others, loop: (made, closing)}
        return made

    async def close(self) -> None:
        """Closes the running loop's value, if it was ever made."""
        with self._lock:
            made = self._values.get(asyncio.get_running_loop())
        if made is not None:
            await made[1].aclose()

    async def _closing(self, loop: asyncio.AbstractEventLoop, value: T) -> AsyncGenerator[None]:
        """A generator whose end closes the value: a loop ends those that are left before it is closed."""
        try:
            yield
        finally:
            with self._lock:
                self._values.pop(loop, None)
            await self._close(value)
