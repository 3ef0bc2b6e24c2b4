"""Connections to the two Redis planes, and Lua scripts as files."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import hiredis
import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MaxConnectionsError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from emendo_config.settings import Settings

if TYPE_CHECKING:
    from redis.asyncio import Redis as AsyncRedis

Command = Sequence[Any]
# Commands that are written to the socket in one piece: Redis works on them while the next ones are packed.
_COMMANDS_A_WRITE = 64
# What the blocking pools of redis-py say, in a plain ConnectionError, when none was given back in time.
_NONE_FREE = "No connection available."


def connect(url: str, settings: Settings) -> redis.Redis:
    """A pooled client for worker threads and web requests: bounded in connections, time and retries.

    Who finds all connections in use waits for one, as long as for an answer. Replies are bytes. Retrying is safe
    because every script of ours may run twice.
    """
    pool = redis.BlockingConnectionPool.from_url(url, timeout=settings.redis_timeout, **_options(settings, _retry()))
    return redis.Redis.from_pool(pool)


def connect_async(url: str, settings: Settings) -> AsyncRedis:
    """The asyncio twin of `connect`."""
    from redis import asyncio as aioredis

    pool: Any = aioredis.BlockingConnectionPool.from_url(
        url, timeout=settings.redis_timeout, **_options(settings, _async_retry())
    )
    return aioredis.Redis.from_pool(pool)


def connect_listening(url: str, settings: Settings) -> redis.Redis:
    """Connections for who listens, which keeps one for as long as that takes: none of those that commands share.

    Subscribing raises MaxConnectionsError when all are in use.
    """
    return redis.Redis.from_url(url, **_options(settings, _retry()))


def connect_listening_async(url: str, settings: Settings) -> AsyncRedis:
    """The asyncio twin of `connect_listening`."""
    from redis import asyncio as aioredis

    return aioredis.Redis.from_url(url, **_options(settings, _async_retry()))


def are_all_in_use(error: RedisError) -> bool:
    """True when there was no answer because each of the pool's connections waited for another one."""
    return isinstance(error, MaxConnectionsError) or str(error) == _NONE_FREE


def _options(settings: Settings, retry: Any) -> dict[str, Any]:
    return {
        "max_connections": settings.redis_max_connections,
        "socket_timeout": settings.redis_timeout,
        "socket_connect_timeout": settings.redis_timeout,
        "socket_keepalive": True,
        "health_check_interval": 25,
        "retry": retry,
        "protocol": 2,
    }


def _retry() -> Retry:
    # Not after a timeout: the caller was promised an answer or an error within that time.
    return Retry(ExponentialWithJitterBackoff(base=0.02, cap=0.2), 2, supported_errors=(RedisConnectionError,))


def _async_retry() -> Any:
    from redis.asyncio.retry import Retry as AsyncRetry

    return AsyncRetry(ExponentialWithJitterBackoff(base=0.02, cap=0.2), 2, supported_errors=(RedisConnectionError,))


def round_trip(client: redis.Redis, commands: Sequence[Command]) -> list[Any]:
    """Sends commands in one pipelined round trip, no transaction; the replies in their order.

    What `client.pipeline(transaction=False)` does, for a third of its time: each command is packed by one call of
    hiredis, and many of them are one write. Retries are the client's.

    Args:
        client: with hiredis, as `connect` makes it.
        commands: name and arguments (str, bytes, int or float); the name is one word.

    Raises:
        ResponseError: the first command's that was refused; the others were carried out.
        RedisError: Redis could not be reached, or did not answer in time.
    """
    return answers(client, commands, exchange(client, lambda: _packed(commands), len(commands)))


async def round_trip_async(client: AsyncRedis, commands: Sequence[Command]) -> list[Any]:
    """The asyncio twin of `round_trip`."""
    return answers(client, commands, await exchange_async(client, lambda: _packed(commands), len(commands)))


def exchange(client: redis.Redis, packed: Callable[[], Iterable[bytes]], count: int) -> list[Any]:
    """Writes packed commands, many at once, and reads as many replies; a refused one is an error in its place.

    Args:
        packed: asked for again when the connection broke.
        count: of the commands.

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
    """Commands as they are written to a connection."""
    return b"".join(_packed(commands))


def answers(client: redis.Redis | AsyncRedis, commands: Sequence[Command], replies: list[Any]) -> list[Any]:
    """What the replies of an exchange mean, in their places.

    Raises:
        ResponseError: the first command's that was refused.
    """
    name, callback = None, None
    for place, (command, reply) in enumerate(zip(commands, replies, strict=True)):
        if isinstance(reply, ResponseError):
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
    """Under one time limit: redis-py's own for each reply takes longer than the reply does."""
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


@cache
def lua_source(package: str, name: str) -> str:
    """The text of `<package>/lua/<name>.lua`."""
    return resources.files(package).joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")


def script_digest(source: str) -> str:
    """The SHA-1 under which Redis keeps a script (the protocol's own digest, not a safety measure)."""
    import hashlib

    return hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


def as_text(value: Any) -> str:
    """A Redis bulk reply as text; absent is empty."""
    return value.decode() if isinstance(value, bytes) else ("" if value is None else str(value))
