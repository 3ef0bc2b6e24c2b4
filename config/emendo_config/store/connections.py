"""Connections to the two Redis planes: pools that are bounded in connections, time and retries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.driver_info import DriverInfo
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MaxConnectionsError, RedisError
from redis.retry import Retry

from emendo_config.sentinel_urls import is_sentinel
from emendo_config.settings import Settings
from emendo_config.store.sentinels import async_pool_of, pool_of

if TYPE_CHECKING:
    from redis.asyncio import Redis as AsyncRedis

# The text of the plain ConnectionError that redis-py's blocking pools raise when no connection became free in time.
_NONE_FREE = "No connection available."
# The library that a connection names. Without it each new one would read redis-py's metadata from its files.
_DRIVER = DriverInfo()


def connect(url: str, settings: Settings) -> redis.Redis:
    """A pooled client for worker threads and web requests; replies are bytes.

    If all connections are busy, a call waits up to `redis_timeout` seconds for a free one. A broken connection is
    retried, which is safe because every script may run twice.
    """
    return redis.Redis.from_pool(_pool(redis.BlockingConnectionPool, url, settings, timeout=settings.redis_timeout))


def connect_async(url: str, settings: Settings) -> AsyncRedis:
    """The asyncio twin of `connect`."""
    from redis import asyncio as aioredis

    pool = _async_pool(aioredis.BlockingConnectionPool, url, settings, timeout=settings.redis_timeout)
    return aioredis.Redis.from_pool(pool)


def connect_listening(url: str, settings: Settings) -> redis.Redis:
    """A separate pool for pub/sub: a listener keeps its connection, so it must not take one from the command pool.

    Subscribing raises MaxConnectionsError when all are in use.
    """
    return redis.Redis.from_pool(_pool(redis.ConnectionPool, url, settings))


def connect_listening_async(url: str, settings: Settings) -> AsyncRedis:
    """The asyncio twin of `connect_listening`."""
    from redis import asyncio as aioredis

    return aioredis.Redis.from_pool(_async_pool(aioredis.ConnectionPool, url, settings))


def are_all_in_use(error: RedisError) -> bool:
    """True when the command was never sent, because every connection of the pool was busy."""
    return isinstance(error, MaxConnectionsError) or str(error) == _NONE_FREE


def _pool(kind: Any, url: str, settings: Settings, **options: Any) -> Any:
    options |= _options(url, settings, _retry())
    return pool_of(kind, url, **options) if is_sentinel(url) else kind.from_url(url, **options)


def _async_pool(kind: Any, url: str, settings: Settings, **options: Any) -> Any:
    options |= _options(url, settings, _async_retry())
    return async_pool_of(kind, url, **options) if is_sentinel(url) else kind.from_url(url, **options)


def _options(url: str, settings: Settings, retry: Any) -> dict[str, Any]:
    # A connection through a unix socket refuses the option.
    keepalive = {} if url.startswith("unix://") else {"socket_keepalive": True}
    return {
        **keepalive,
        "max_connections": settings.redis_max_connections,
        "socket_timeout": settings.redis_timeout,
        "socket_connect_timeout": settings.redis_timeout,
        "health_check_interval": 25,
        "retry": retry,
        "protocol": 2,
        "driver_info": _DRIVER,
    }


def _retry() -> Retry:
    # Not after a timeout: the caller was promised an answer or an error within that time.
    return Retry(ExponentialWithJitterBackoff(base=0.02, cap=0.2), 2, supported_errors=(RedisConnectionError,))


def _async_retry() -> Any:
    from redis.asyncio.retry import Retry as AsyncRetry

    return AsyncRetry(ExponentialWithJitterBackoff(base=0.02, cap=0.2), 2, supported_errors=(RedisConnectionError,))
