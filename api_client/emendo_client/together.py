"""Calls made at the same time share a round trip to Redis.

While one round trip is under way, the next calls gather; then they are sent as one. To a call that is alone nothing
changes; of many at once, each costs its process, and Redis, a fraction of a round trip's system calls. None waits
longer than two round trips take: the one under way, and its own.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import redis
from redis.exceptions import NoScriptError, RedisError

from emendo_client.steps import load_scripts, load_scripts_async
from emendo_config.redis_io import Command, answers, exchange, exchange_async, pack

if TYPE_CHECKING:
    from redis.asyncio import Redis as AsyncRedis


class _Call:
    """One caller's commands: packed by the caller, so that what cannot be packed is no other call's trouble."""

    __slots__ = ("commands", "outcome", "packed")

    def __init__(self, commands: list[Command]) -> None:
        self.commands = commands
        self.packed = pack(commands)
        self.outcome: list[Any] | Exception | None = None

    def result(self, connection: redis.Redis | AsyncRedis) -> list[Any]:
        assert self.outcome is not None
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return answers(connection, self.commands, self.outcome)


class _BlockedCall(_Call):
    """A thread's; `wake` is let go when it is answered, or when it is its turn to send."""

    __slots__ = ("wake",)

    def __init__(self, commands: list[Command]) -> None:
        super().__init__(commands)
        self.wake = threading.Lock()
        self.wake.acquire()


class _AwaitedCall(_Call):
    """A task's."""

    __slots__ = ("future",)

    def __init__(self, commands: list[Command], future: asyncio.Future[None]) -> None:
        super().__init__(commands)
        self.future = future


class Together:
    """A plane (see `steps`) that threads share. What they send must be safe to run twice.

    One call at a time sends, its own commands and those of all that wait; then it is the turn of the one that came
    first since.
    """

    def __init__(self, connection: redis.Redis) -> None:
        self._connection = connection
        self.begin_anew()
        _all.add(self)

    def begin_anew(self) -> None:
        """In a forked process: what other threads of the parent were about is not this one's business."""
        self._lock = threading.Lock()
        self._waiting: deque[_BlockedCall] = deque()
        self._sender: _BlockedCall | None = None

    def __call__(self, commands: list[Command]) -> list[Any]:
        """The replies to the commands.

        Raises:
            ResponseError: the first of these commands that was refused.
            RedisError: Redis could not be reached, or did not answer in time.
        """
        call = _BlockedCall(commands)
        try:
            if not self._may_send(call):
                call.wake.acquire()
            if call.outcome is None:
                self._exchange(call)
        finally:
            self._leave(call)
        return call.result(self._connection)

    def _may_send(self, call: _BlockedCall) -> bool:
        with self._lock:
            self._waiting.append(call)
            if self._sender is None:
                self._sender = call
            return self._sender is call

    def _leave(self, call: _BlockedCall) -> None:
        with self._lock:
            if call.outcome is None:  # interrupted: it must not be sent later, when nobody expects it any more
                with suppress(ValueError):
                    self._waiting.remove(call)
            if self._sender is call:
                self._sender = self._waiting[0] if self._waiting else None
                if self._sender is not None:
                    self._sender.wake.release()

    def _exchange(self, sender: _BlockedCall) -> None:
        with self._lock:
            calls = list(self._waiting)
            self._waiting.clear()
        try:
            replies = self._replies(calls)
            if _lacks_scripts(replies):
                load_scripts(self._connection)
                replies = self._replies(calls)
        except RedisError as error:
            _fail(calls, error)
        except BaseException:  # this thread's alone; the others will try themselves
            with self._lock:
                self._waiting.extendleft(reversed(calls))
            raise
        else:
            _hand_out(calls, replies)
        for call in calls:
            if call is not sender:
                call.wake.release()

    def _replies(self, calls: list[_BlockedCall]) -> list[Any]:
        return exchange(self._connection, lambda: (call.packed for call in calls), _count(calls))


class AsyncTogether:
    """The asyncio twin of `Together`, shared by the tasks of one event loop."""

    def __init__(self, connection: AsyncRedis) -> None:
        self._connection = connection
        self._waiting: deque[_AwaitedCall] = deque()
        self._sending: asyncio.Task[None] | None = None

    async def __call__(self, commands: list[Command]) -> list[Any]:
        """See `Together.__call__`. A call that is cancelled before it is sent is not sent."""
        loop = asyncio.get_running_loop()
        call = _AwaitedCall(commands, loop.create_future())
        if self._sending is None or self._sending.done() or self._sending.get_loop() is not loop:
            self._waiting.clear()  # of a loop that is no more
            # A task of its own: who waits may be cancelled, which must not end what the others wait for.
            self._sending = loop.create_task(self._send())
        self._waiting.append(call)
        await call.future
        return call.result(self._connection)

    async def _send(self) -> None:
        calls: list[_AwaitedCall] = []
        try:
            while self._waiting:
                calls = [call for call in self._waiting if not call.future.done()]
                self._waiting.clear()
                await self._exchange(calls)
                for call in calls:
                    if not call.future.done():
                        call.future.set_result(None)
        finally:
            for call in (*calls, *self._waiting):
                call.future.cancel()  # does nothing to one that has ended

    async def _exchange(self, calls: list[_AwaitedCall]) -> None:
        try:
            replies = await self._replies(calls)
            if _lacks_scripts(replies):
                await load_scripts_async(self._connection)
                replies = await self._replies(calls)
        except Exception as error:  # noqa: BLE001  # raised where the call was made
            _fail(calls, error)
        else:
            _hand_out(calls, replies)

    async def _replies(self, calls: list[_AwaitedCall]) -> list[Any]:
        return await exchange_async(self._connection, lambda: (call.packed for call in calls), _count(calls))


def _count(calls: Sequence[_Call]) -> int:
    return sum(len(call.commands) for call in calls)


def _lacks_scripts(replies: list[Any]) -> bool:
    return any(isinstance(reply, NoScriptError) for reply in replies)


def _fail(calls: Sequence[_Call], error: Exception) -> None:
    for call in calls:
        call.outcome = error


def _hand_out(calls: Sequence[_Call], replies: list[Any]) -> None:
    first = 0
    for call in calls:
        following = first + len(call.commands)
        call.outcome = replies[first:following]
        first = following


_all: weakref.WeakSet[Together] = weakref.WeakSet()


def _begin_all_anew() -> None:
    for each in list(_all):
        each.begin_anew()


os.register_at_fork(after_in_child=_begin_all_anew)
