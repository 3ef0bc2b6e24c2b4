"""The asyncio client's connections, and how an exchange runs on them."""

from __future__ import annotations

from typing import Self, TypeVar

from emendo_client.exchanges.exchange import Exchange, run_async
from emendo_client.requests import validation
from emendo_client.transport.redis_connections import AsyncRedisConnections
from emendo_config import Keys, Settings

T = TypeVar("T")


class AsyncConnections:
    """One project's connections."""

    def __init__(self, settings: Settings | None = None, project: str | None = None) -> None:
        self.settings = Settings() if settings is None else validation.settings_given(settings)
        given = self.settings.project if project is None else project
        self.project = validation.scope_id(given, "project") or "default"
        self._keys = Keys(self.settings.key_prefix)
        self._connections = AsyncRedisConnections(self.settings)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes all connections; the client cannot be used afterwards."""
        await self._connections.aclose()

    async def _run(self, exchange: Exchange[T]) -> T:
        return await run_async(self._connections.senders, exchange)

    async def _run_shared(self, exchange: Exchange[T]) -> T:
        """For short exchanges with the control plane: those of one moment share a round trip, and its connection."""
        return await run_async(self._connections.shared_senders, exchange)
