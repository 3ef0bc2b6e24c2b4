"""Connections to the two Redis planes, and Lua scripts as files."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from emendo_config.settings import Settings

if TYPE_CHECKING:
    from redis.asyncio import Redis as AsyncRedis


def connect(url: str, settings: Settings) -> redis.Redis:
    """A pooled client for worker threads and web requests: bounded in connections, time and retries.

    Replies are bytes. Retrying is safe because every script of ours may run twice.
    """
    return redis.Redis.from_url(
        url,
        max_connections=settings.redis_max_connections,
        socket_timeout=settings.redis_timeout,
        socket_connect_timeout=settings.redis_timeout,
        socket_keepalive=True,
        health_check_interval=25,
        # Not after a timeout: the caller was promised an answer or an error within that time.
        retry=Retry(ExponentialWithJitterBackoff(base=0.02, cap=0.2), 2, supported_errors=(RedisConnectionError,)),
        protocol=2,
    )


def connect_async(url: str, settings: Settings) -> AsyncRedis:
    """The asyncio twin of `connect`."""
    from redis import asyncio as aioredis
    from redis.asyncio.retry import Retry as AsyncRetry

    return aioredis.Redis.from_url(
        url,
        max_connections=settings.redis_max_connections,
        socket_timeout=settings.redis_timeout,
        socket_connect_timeout=settings.redis_timeout,
        socket_keepalive=True,
        health_check_interval=25,
        retry=AsyncRetry(ExponentialWithJitterBackoff(base=0.02, cap=0.2), 2, supported_errors=(RedisConnectionError,)),
        protocol=2,
    )


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
