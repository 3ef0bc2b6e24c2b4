"""A client's connections to Redis, and what sends over them: once for threads, once for each event loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from emendo_client.loops import PerLoop
from emendo_client.transport.auto_pipeline import AsyncAutoPipeline, AutoPipeline
from emendo_config import Settings
from emendo_config.store.connections import connect, connect_async, connect_listening, connect_listening_async
from emendo_config.store.scripts import AsyncSender, Sender, sender_for, sender_for_async

if TYPE_CHECKING:
    import redis
    from redis.asyncio import Redis as AsyncRedis


class RedisConnections:
    """RedisConnections for all threads of a process. A forked process opens its own: redis-py's pools see to that.

    Attributes:
        listening: for pub/sub.
        senders: by plane, one round trip for each call.
        shared_senders: by plane, one round trip for the calls of one moment.
    """

    def __init__(self, settings: Settings) -> None:
        self.data: redis.Redis = connect(settings.redis_url, settings)
        same = settings.control_url == settings.redis_url
        self.control: redis.Redis = self.data if same else connect(settings.control_url, settings)
        self.listening: redis.Redis = connect_listening(settings.control_url, settings)
        self.senders: Mapping[str, Sender] = {
            "data": sender_for(self.data),
            "control": sender_for(self.control),
        }
        self.shared_senders: Mapping[str, Sender] = {"control": AutoPipeline(self.control)}

    def close(self) -> None:
        """Closes all of them."""
        self.data.close()
        self.control.close()
        self.listening.close()


class _LoopConnections:
    """The asyncio twin of `RedisConnections`, for one event loop."""

    def __init__(self, settings: Settings) -> None:
        self.data: AsyncRedis = connect_async(settings.redis_url, settings)
        same = settings.control_url == settings.redis_url
        self.control: AsyncRedis = self.data if same else connect_async(settings.control_url, settings)
        self.listening: AsyncRedis = connect_listening_async(settings.control_url, settings)
        self.senders: Mapping[str, AsyncSender] = {
            "data": sender_for_async(self.data),
            "control": sender_for_async(self.control),
        }
        self.shared_senders: Mapping[str, AsyncSender] = {"control": AsyncAutoPipeline(self.control)}

    async def close(self) -> None:
        """Closes all of them."""
        await self.data.aclose()
        await self.control.aclose()
        await self.listening.aclose()


class AsyncRedisConnections:
    """The asyncio twin of `RedisConnections`. Each event loop has its own, opened at its first call."""

    def __init__(self, settings: Settings) -> None:
        self._loops = PerLoop(lambda: _LoopConnections(settings), _LoopConnections.close)

    @property
    def listening(self) -> AsyncRedis:
        """See `RedisConnections`."""
        return self._loops.get().listening

    @property
    def control(self) -> AsyncRedis:
        """See `RedisConnections`."""
        return self._loops.get().control

    @property
    def data(self) -> AsyncRedis:
        """See `RedisConnections`."""
        return self._loops.get().data

    @property
    def senders(self) -> Mapping[str, AsyncSender]:
        """See `RedisConnections`."""
        return self._loops.get().senders

    @property
    def shared_senders(self) -> Mapping[str, AsyncSender]:
        """See `RedisConnections`."""
        return self._loops.get().shared_senders

    async def aclose(self) -> None:
        """Closes those of the running loop; a loop that was closed has closed its own."""
        await self._loops.close()
