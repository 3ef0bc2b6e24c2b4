"""Connections to the two Redis planes, and Lua scripts as files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import hiredis
import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MaxConnectionsError, RedisError, ResponseError
from redis.retry import Retry

from emendo_config.settings import Settings

if TYPE_CHECKING:
    from redis.asyncio import Redis as AsyncRedis

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


def round_trip(client: redis.Redis, commands: Sequence[Sequence[Any]]) -> list[Any]:
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
    pool = client.connection_pool
    connection = pool.get_connection()
    try:
        replies = connection.retry.call_with_retry(
            lambda: _exchange(connection, commands), lambda _: connection.disconnect()
        )
    finally:
        pool.release(connection)
    for place, (command, reply) in enumerate(zip(commands, replies, strict=True)):
        if isinstance(reply, ResponseError):
            raise reply
        callback = client.response_callbacks.get(command[0])
        if callback is not None:
            replies[place] = callback(reply)
    return replies


def _exchange(connection: Any, commands: Sequence[Sequence[Any]]) -> list[Any]:
    for first in range(0, len(commands), _COMMANDS_A_WRITE):
        part = commands[first : first + _COMMANDS_A_WRITE]
        connection.send_packed_command((b"".join(map(hiredis.pack_command, map(tuple, part))),))
    return [_reply(connection) for _ in commands]


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
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
