"""Pipelined round trips: many commands are written at once, and their replies are read in order."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import hiredis
import redis
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from emendo_config.store.refusals import note_refusal

if TYPE_CHECKING:
    from redis.asyncio import Redis as AsyncRedis

Command = Sequence[Any]
# Commands written to the socket in one piece: Redis works on them while the next ones are packed.
_COMMANDS_A_WRITE = 64


def round_trip(
    client: redis.Redis, commands: Sequence[Command], kept: tuple[type[ResponseError], ...] = ()
) -> list[Any]:
    """Sends commands in one pipelined round trip, no transaction; the replies in their order.

    It does what `client.pipeline(transaction=False)` does in a third of the time: hiredis packs each command in one
    call, and one write sends many commands. Retries are the client's.

    Args:
        client: with hiredis, as `connect` makes it.
        commands: name and arguments (str, bytes, int or float); the name is one word.
        kept: errors that stand in the place of a refused command's reply and are not raised.

    Raises:
        ResponseError: Redis refused a command; this is the first such error, and all others were carried out.
        RedisError: Redis could not be reached, or did not answer in time.
    """
    return answers(client, commands, exchange(client, lambda: _packed(commands), len(commands)), kept)


def replies_of(client: redis.Redis, commands: Sequence[Command]) -> list[Any]:
    """Sends commands as `round_trip` does; a refused command's reply is its ResponseError, the others are raw.

    Raises:
        RedisError: Redis could not be reached, or did not answer in time.
    """
    return exchange(client, lambda: _packed(commands), len(commands))


async def round_trip_async(client: AsyncRedis, commands: Sequence[Command]) -> list[Any]:
    """The asyncio twin of `round_trip`."""
    return answers(client, commands, await exchange_async(client, lambda: _packed(commands), len(commands)))


def exchange(client: redis.Redis, packed: Callable[[], Iterable[bytes]], count: int) -> list[Any]:
    """Writes packed commands, many at once, and reads their replies; a refused command's reply is its ResponseError.

    Args:
        packed: gives the packed commands; it is called again when the connection broke.
        count: number of commands.

    Raises:
        RedisError: Redis could not be reached, or did not answer in time.
    """
    pool = client.connection_pool
    connection = pool.get_connection()

    def once() -> list[Any]:
        for piece in _pieces(packed()):
            connection.send_packed_command((piece,))
        return [_reply(connection) for _ in range(count)]

    try:
        return connection.retry.call_with_retry(once, lambda _: connection.disconnect())
    finally:
        pool.release(connection)


async def exchange_async(client: AsyncRedis, packed: Callable[[], Iterable[bytes]], count: int) -> list[Any]:
    """The asyncio twin of `exchange`."""
    pool = client.connection_pool
    connection: Any = await pool.get_connection()

    async def once() -> list[Any]:
        for piece in _pieces(packed()):
            await connection.send_packed_command((piece,))
        replies: list[Any] = []
        while len(replies) < count:
            replies += await _some_replies(connection, min(count - len(replies), _COMMANDS_A_WRITE))
        return replies

    try:
        return await connection.retry.call_with_retry(once, lambda _: connection.disconnect())  # type: ignore[no-any-return]
    finally:
        await pool.release(connection)


def pack(commands: Sequence[Command]) -> bytes:
    """The commands as bytes for a connection."""
    return b"".join(_packed(commands))


def answers(
    client: redis.Redis | AsyncRedis,
    commands: Sequence[Command],
    replies: list[Any],
    kept: tuple[type[ResponseError], ...] = (),
) -> list[Any]:
    """The replies of `exchange` as redis-py's response callbacks convert them, in order; `kept` as for `round_trip`.

    Raises:
        ResponseError: Redis refused a command; this is the first such error.
    """
    name, callback = None, None
    for place, (command, reply) in enumerate(zip(commands, replies, strict=True)):
        if isinstance(reply, ResponseError):
            if isinstance(reply, kept):
                continue
            note_refusal(reply, client, command)
            raise reply
        if command[0] != name:  # looked up once for many of a kind
            name = command[0]
            callback = client.response_callbacks.get(name)
        if callback is not None:
            replies[place] = callback(reply)
    return replies


def _packed(commands: Sequence[Command]) -> Iterator[bytes]:
    return map(hiredis.pack_command, map(tuple, commands))


def _pieces(packed: Iterable[bytes]) -> Iterator[bytes]:
    left = iter(packed)
    while some := list(itertools.islice(left, _COMMANDS_A_WRITE)):
        yield b"".join(some)


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error


async def _some_replies(connection: Any, count: int) -> list[Any]:
    """Reads replies under one time limit: redis-py's own limit for each reply costs more than reading it."""
    try:
        async with asyncio.timeout(connection.socket_timeout):
            return [await _reply_async(connection) for _ in range(count)]
    except TimeoutError:  # the cancelled read has closed the connection
        raise RedisTimeoutError("Redis did not answer in time") from None


async def _reply_async(connection: Any) -> Any:
    try:
        return await connection.read_response(timeout=math.inf)
    except ResponseError as error:
        return error


def as_text(value: Any) -> str:
    """A bulk reply as text; a missing one is empty. Bytes that are no UTF-8 are shown as escapes."""
    if not isinstance(value, bytes):
        return "" if value is None else str(value)
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode(errors="backslashreplace")
