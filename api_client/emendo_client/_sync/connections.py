# Generated from _async/connections.py by `python tools/async_to_sync.py`: change that file, then run the command.
"""The blocking client's connections, and how an exchange runs on them."""

from __future__ import annotations

from typing import Self, TypeVar

from emendo_client.exchanges.exchange import Exchange, run
from emendo_client.requests import validation
from emendo_client.transport.redis_connections import RedisConnections
from emendo_config import Keys, Settings

T = TypeVar("T")


class Connections:
    """One project's connections."""

    def __init__(self, settings: Settings | None = None, project: str | None = None) -> None:
        self.settings = Settings() if settings is None else validation.settings_given(settings)
        given = self.settings.project if project is None else project
        self.project = validation.scope_id(given, "project") or "default"
        self._keys = Keys(self.settings.key_prefix)
        self._connections = RedisConnections(self.settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes all connections; the client cannot be used afterwards."""
        self._connections.close()

    def _run(self, exchange: Exchange[T]) -> T:
        return run(self._connections.senders, exchange)

    def _run_shared(self, exchange: Exchange[T]) -> T:
        """For short exchanges with the control plane: those of one moment share a round trip, and its connection."""
        return run(self._connections.shared_senders, exchange)
