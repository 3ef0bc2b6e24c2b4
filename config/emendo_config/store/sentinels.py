"""Connections to the master that the sentinels name; each new one asks them, so they find the new master."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import redis
from redis.backoff import NoBackoff
from redis.connection import SSLConnection, parse_url
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelManagedConnection

from emendo_config.sentinel_urls import SentinelUrl, read_sentinel_url
from emendo_config.tls import tls_options

if TYPE_CHECKING:
    from redis.asyncio import ConnectionPool as AsyncConnectionPool

# Seconds that one sentinel may take: a dead one must not use up the time of the call. Nor is it asked again, since
# redis-py would pause between its tries; the connection to the master is what is tried again.
_SENTINEL_TIMEOUT = 1.0


class MasterConnection(SentinelManagedConnection):
    """A connection to the master; after a timeout it is closed, or the next call would read this one's reply."""

    def read_response(self, *args: Any, **options: Any) -> Any:
        """As redis-py's; it takes the replica that was the master for a broken connection."""
        return super().read_response(*args, **{"disconnect_on_error": True, **options})


class MasterTLSConnection(MasterConnection, SSLConnection):
    """The same with TLS."""


class Master:
    """The address of the master, for the connections of one pool."""

    is_master = True
    check_connection = False

    def __init__(self, pool: redis.ConnectionPool, sentinel: Sentinel, service_name: str) -> None:
        self._pool = pool
        self._sentinel = sentinel
        self._address: Any = None
        self.service_name = service_name

    def get_master_address(self) -> Any:
        """Host and port; idle connections to an earlier master are closed.

        Raises:
            MasterNotFoundError: no sentinel answers, or none knows a master; a ConnectionError of redis-py.
        """
        address = self._sentinel.discover_master(self.service_name)
        if address != self._address:
            self._address = address
            self._pool.disconnect(inuse_connections=False)
        return address


class AsyncMaster:
    """The asyncio twin of `Master`."""

    is_master = True
    check_connection = False

    def __init__(self, pool: AsyncConnectionPool, sentinel: Any, service_name: str) -> None:
        self._pool = pool
        self._sentinel = sentinel
        self._address: Any = None
        self.service_name = service_name

    async def get_master_address(self) -> Any:
        """See `Master.get_master_address`."""
        address = await self._sentinel.discover_master(self.service_name)
        if address != self._address:
            self._address = address
            await self._pool.disconnect(inuse_connections=False)
        return address


def pool_of(kind: Any, url: str, **options: Any) -> Any:
    """A pool of connections to the master.

    Args:
        kind: the class of the pool.
        url: as `read_sentinel_url` takes it.
        options: of the pool and its connections; those of the URL win.
    """
    found = read_sentinel_url(url)
    connection = MasterTLSConnection if found.uses_tls else MasterConnection
    pool = kind(connection_class=connection, **{**options, **_master_options(found)})
    asked = {**sentinel_options(found), "retry": Retry(NoBackoff(), 0)}
    sentinel = Sentinel(found.sentinels, sentinel_kwargs=asked)
    pool.connection_kwargs["connection_pool"] = Master(pool, sentinel, found.service)
    return pool


def async_pool_of(kind: Any, url: str, **options: Any) -> Any:
    """The asyncio twin of `pool_of`."""
    from redis.asyncio.retry import Retry as AsyncRetry
    from redis.asyncio.sentinel import Sentinel as AsyncSentinel
    from redis.asyncio.sentinel import SentinelManagedConnection as Plain
    from redis.asyncio.sentinel import SentinelManagedSSLConnection as WithTLS

    found = read_sentinel_url(url)
    pool = kind(connection_class=WithTLS if found.uses_tls else Plain, **{**options, **_master_options(found)})
    asked = {**sentinel_options(found), "retry": AsyncRetry(NoBackoff(), 0)}
    sentinel = AsyncSentinel(found.sentinels, sentinel_kwargs=asked)
    pool.connection_kwargs["connection_pool"] = AsyncMaster(pool, sentinel, found.service)
    return pool


def sentinel_options(url: SentinelUrl) -> dict[str, Any]:
    """The arguments of `redis.Redis` for a connection to a sentinel."""
    options: dict[str, Any] = {"socket_timeout": _SENTINEL_TIMEOUT, "socket_connect_timeout": _SENTINEL_TIMEOUT}
    if url.uses_tls:
        options |= {"ssl": True, **tls_options(url.master_url)}
    return {**options, **url.login}


def _master_options(url: SentinelUrl) -> dict[str, Any]:
    options = dict(parse_url(url.master_url))
    options.pop("connection_class", None)
    options.pop("host", None)
    options.pop("port", None)
    return options
