"""Sleeping, blocking calls and taking turns: once for threads, once for the tasks of an event loop.

The clients need nothing else that differs between the two beyond `async` and `await`. The names differ by the suffix
that `tools/async_to_sync.py` takes away.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def sleep(seconds: float) -> None:
    """Blocks the thread for so many seconds."""
    time.sleep(seconds)


async def sleep_async(seconds: float) -> None:
    """Suspends the task for so many seconds."""
    await asyncio.sleep(seconds)


def call_blocking(function: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
    """Calls a function that blocks."""
    return function(*given, **named)


async def call_blocking_async(function: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
    """Calls a function that blocks in a thread of its own, so that the event loop goes on."""
    return await asyncio.to_thread(function, *given, **named)


def turns() -> AbstractContextManager[None]:
    """No lock: what tasks take turns at belongs to one thread in the blocking client."""
    return nullcontext()


def turns_async() -> asyncio.Lock:
    """A lock for the tasks of one event loop; it is given to them in the order in which they asked."""
    return asyncio.Lock()
