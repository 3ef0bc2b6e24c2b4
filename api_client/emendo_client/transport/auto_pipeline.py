"""Calls made at the same time share a round trip to Redis.

While one round trip is under way, the next calls gather; then one pipeline sends them all. A call that is alone takes
its usual round trip. Each of many calls costs its process, and Redis, a fraction of a round trip's system calls. A call
waits for two round trips at most: the one under way, and its own.

Each call keeps its own replies and its own errors. A connection that fails fails every call that shared it.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import redis
from redis.exceptions import NoScriptError, RedisError

from emendo_config.forks import notice_fork, reset_in_children
from emendo_config.store.pipeline import Command, answers, exchange, exchange_async, pack, round_trip, round_trip_async
from emendo_config.store.scripts import load_commands

if TYPE_CHECKING:
    from redis.asyncio import Redis as AsyncRedis


class _Call:
    """One caller's commands. The caller packs them, so that a command that cannot be packed fails no other call."""

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
    """The call of a thread; `wake` is released when it is answered, or when it is its turn to send."""

    __slots__ = ("wake",)

    def __init__(self, commands: list[Command]) -> None:
        super().__init__(commands)
        self.wake = threading.Lock()
        self.wake.acquire()


class _AwaitedCall(_Call):
    """The call of a task; `future` is set when it is answered."""

    __slots__ = ("future",)

    def __init__(self, commands: list[Command], future: asyncio.Future[None]) -> None:
        super().__init__(commands)
        self.future = future


class AutoPipeline:
    """A `Sender` (see `store/scripts/execution.py`) that threads share. All commands must be safe to run twice.

    One call at a time sends: its own commands and those of every call that waits. Then the first of the calls that
    came meanwhile takes over.
    """

    def __init__(self, connection: redis.Redis) -> None:
        self._connection = connection
        self.reset_after_fork()
        reset_in_children(self)

    def reset_after_fork(self) -> None:
        """Forgets the calls of the parent's threads, which a forked process does not have."""
        self._lock = threading.Lock()
        self._waiting: deque[_BlockedCall] = deque()
        self._sender: _BlockedCall | None = None

    def __call__(self, commands: list[Command]) -> list[Any]:
        """The replies to the commands.

        Raises:
            ResponseError: the first of these commands that was refused.
            RedisError: Redis could not be reached, or did not answer in time.
        """
        notice_fork()
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
            if call.outcome is None:  # interrupted: it must not be sent after its caller has gone
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
                round_trip(self._connection, _loads(calls))
                replies = self._replies(calls)
        except RedisError as error:
            _fail(calls, error)
        except BaseException:  # an interrupt of this thread: the other calls are sent by the next one
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


class AsyncAutoPipeline:
    """The asyncio twin of `AutoPipeline`, for the tasks of one event loop."""

    def __init__(self, connection: AsyncRedis) -> None:
        self._connection = connection
        self._waiting: deque[_AwaitedCall] = deque()
        self._sending: asyncio.Task[None] | None = None

    async def __call__(self, commands: list[Command]) -> list[Any]:
        """See `AutoPipeline.__call__`. A call that is cancelled before it is sent is not sent."""
        loop = asyncio.get_running_loop()
        call = _AwaitedCall(commands, loop.create_future())
        if self._sending is None or self._sending.done():
            # A task of its own sends: if one caller is cancelled, the others still get their replies.
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
                call.future.cancel()  # does nothing to a future that is done

    async def _exchange(self, calls: list[_AwaitedCall]) -> None:
        try:
            replies = await self._replies(calls)
            if _lacks_scripts(replies):
                await round_trip_async(self._connection, _loads(calls))
                replies = await self._replies(calls)
        except Exception as error:  # noqa: BLE001  # raised where the call was made
            _fail(calls, error)
        else:
            _hand_out(calls, replies)

    async def _replies(self, calls: list[_AwaitedCall]) -> list[Any]:
        return await exchange_async(self._connection, lambda: (call.packed for call in calls), _count(calls))


def _count(calls: Sequence[_Call]) -> int:
    return sum(len(call.commands) for call in calls)


def _loads(calls: Sequence[_Call]) -> list[Command]:
    return load_commands(command for call in calls for command in call.commands)


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
