"""Answers that all who ask within a moment share: however many ask, Redis is asked once."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """An answer that all who ask within some seconds share, also while it is being found.

    Args:
        find: finds an answer.
        seconds: the age from which on another one is looked for.
        oldest: the age, in seconds, up to which the last answer is given while another one is looked for.
    """

    def __init__(self, find: Callable[[], Awaitable[T]], seconds: float, oldest: float = 0.0) -> None:
        self._find = find
        self._seconds = seconds
        self._oldest = oldest
        self._finding: asyncio.Future[T] | None = None
        self._last: T | None = None
        self._found_at = -math.inf

    async def get(self) -> T:
        """The answer."""
        age = time.monotonic() - self._found_at
        if self._finding is None or (self._finding.done() and age >= self._seconds):
            self._finding = asyncio.ensure_future(self._found())
        if self._last is not None and age < self._oldest:
            return self._last
        return await asyncio.shield(self._finding)

    async def _found(self) -> T:
        found: T | None = None
        try:
            found = await self._find()
        finally:
            self._last, self._found_at = found, time.monotonic()
        return found
