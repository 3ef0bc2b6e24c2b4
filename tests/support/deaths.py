"""A drain that dies at any round trip to Redis, as a SIGKILL ends it.

The connection is where the death happens: every command of the product passes it, whichever function sends it, and
so does the broker's publishing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import hiredis
import pytest
from redis.connection import AbstractConnection
from redis.exceptions import RedisError, ResponseError

from emendo_workers.intake.drain import Drain

# One death for each round trip and side of it takes long.
DEATHS = [
    pytest.param(False, id="before the round trip", marks=pytest.mark.slow),
    pytest.param(True, id="after it", marks=pytest.mark.slow),
]


class Killed(BaseException):
    """The death of a worker, seen from inside: no handler for errors catches it."""


def die_at(patch: pytest.MonkeyPatch, step: int, *, after: bool = False) -> None:
    """Kills drains at their step-th round trip to Redis; a dead drain reaches no server until the patch is undone.

    Only round trips made while a drain runs count. The test's own commands between two drains, and those under
    `spared`, are neither counted nor struck.

    Args:
        patch: undoes the death at its end.
        step: from 1; the round trips of all drains are counted together.
        after: the server carries the step-th round trip out and only its replies are lost; else nothing reaches it.
    """
    death = _Death(step, after=after)
    for name in ("send_packed_command", "read_response", "connect"):
        patch.setattr(AbstractConnection, name, getattr(death, name)(getattr(AbstractConnection, name)))
    patch.setattr(Drain, "run", death.run(Drain.run))


@contextmanager
def dies_at_call(owner: Any, name: str) -> Iterator[None]:
    """The worker dies within the block, at its call of one of the owner's functions; that it did is checked."""

    def die(*_: Any, **__: Any) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, die)
        with pytest.raises(Killed):
            yield


@contextmanager
def spared() -> Iterator[None]:
    """Commands within are another process's, though a drain runs: they are not counted, and no death reaches them."""
    _own.spared = getattr(_own, "spared", 0) + 1
    try:
        yield
    finally:
        _own.spared -= 1


def _is_spared() -> bool:
    return getattr(_own, "spared", 0) > 0


_own = threading.local()


class _Death:
    """Counts round trips at the connections, and raises `Killed` at the chosen one and at each that follows."""

    def __init__(self, step: int, *, after: bool) -> None:
        self._last = step if after else step - 1  # the round trips that reach the server
        self._dies_reading = after
        self._draining = False
        self._unread: WeakKeyDictionary[AbstractConnection, int] = WeakKeyDictionary()
        self._begun = 0

    def run(self, real: Callable[[Drain], int]) -> Callable[[Drain], int]:
        def run(drain: Drain) -> int:
            self._draining = True
            made = real(drain)
            self._draining = False  # not after a death: the dead stay dead
            return made

        return run

    def connect(self, real: Callable[..., Any]) -> Callable[..., Any]:
        """The greeting of a new connection is no round trip of the product: the pool decides when there is one."""

        def connect(connection: AbstractConnection, *args: Any, **more: Any) -> Any:
            with spared():
                return real(connection, *args, **more)

        return connect

    def send_packed_command(self, real: Callable[..., None]) -> Callable[..., None]:
        def send(connection: AbstractConnection, command: Any, *args: Any, **more: Any) -> None:
            if not self._draining or _is_spared():
                return real(connection, command, *args, **more)
            pieces = [command] if isinstance(command, str | bytes) else list(command)
            if not self._unread.get(connection):  # a long pipeline is sent in several pieces
                self._begun += 1
                if self._begun > self._last:
                    raise Killed
            with spared():  # redis-py may connect, and ping an idle server, before it sends
                real(connection, pieces, *args, **more)
            self._unread[connection] = self._unread.get(connection, 0) + _commands(pieces)
            return None

        return send

    def read_response(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def read(connection: AbstractConnection, *args: Any, **more: Any) -> Any:
            unread = 0 if _is_spared() else self._unread.get(connection, 0)
            if not unread:
                return real(connection, *args, **more)
            if self._dies_reading and self._begun >= self._last:
                for _ in range(unread):  # the server has carried a command out when it has answered it
                    _read_and_forget(real, connection)
                connection.disconnect()
                self._unread[connection] = 0
                raise Killed
            self._unread[connection] = unread - 1
            try:
                return real(connection, *args, **more)
            except ResponseError:
                raise
            except RedisError:
                self._unread[connection] = 0
                raise

        return read


def _commands(pieces: list[Any]) -> int:
    """How many commands the packed bytes hold, each of which the server answers once."""
    reader = hiredis.Reader()
    for piece in pieces:
        reader.feed(piece.encode() if isinstance(piece, str) else bytes(piece))
    count = 0
    while reader.gets() is not False:
        count += 1
    return count


def _read_and_forget(real: Callable[..., Any], connection: AbstractConnection) -> None:
    try:
        real(connection)
    except ResponseError:
        return
