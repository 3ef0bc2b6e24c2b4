"""The parts of one gateway process: settings, connections, clients, keys. `create_app` makes it once, routes ask it."""

from __future__ import annotations

import asyncio

from fastapi import Request

from emendo_client.exchanges.backlog import backlog_async
from emendo_config import GatewaySettings, Keys, Settings
from emendo_config.store.connections import connect_async, connect_listening_async
from emendo_config.store.scripts import sender_for_async
from emendo_gateway.callers import caller_of
from emendo_gateway.clients import ProjectClients
from emendo_gateway.keys.authentication import Authenticator
from emendo_gateway.keys.tokens import Tokens
from emendo_gateway.outages import Outages
from emendo_gateway.rates import Rates
from emendo_gateway.service import Service
from emendo_gateway.shared_answers import Shared
from emendo_gateway.watching import Watch

# Seconds that a look at the backlog is given to everybody who asks.
BACKLOG_KEPT = 1.0


class Gateway:
    """The parts of one gateway.

    Attributes:
        planes: what sends to each Redis, for looks at the whole installation.
        watch: listens for the ends of jobs, for all requests.
        backlog: of each queue, for all who ask.
        outages: of Redis, for the log.
    """

    def __init__(self, settings: Settings, own: GatewaySettings) -> None:
        self.settings = settings
        self.own = own
        self.keys = Keys(settings.key_prefix)
        self._connections = {
            "data": connect_async(settings.redis_url, settings),
            "control": connect_async(settings.control_url, settings),
        }
        self.planes = {name: sender_for_async(connection) for name, connection in self._connections.items()}
        self.rates = Rates(self._connections["control"], self.keys)
        self._tokens = Tokens(own) if own.jwt_issuer else None
        self.authenticator = Authenticator(
            self.planes["control"], self.keys, self.rates, own.failed_logins_per_minute, self._tokens
        )
        self.clients = ProjectClients(settings)
        listening = connect_listening_async(settings.control_url, settings)
        self.watch = Watch(listening, self._connections["control"], self.keys)
        self.backlog = Shared(lambda: backlog_async(self.planes, self.keys), BACKLOG_KEPT)
        self.outages = Outages(self.planes)
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Notes the event loop that serves; called in it."""
        self._loop = asyncio.get_running_loop()

    def stop(self) -> None:
        """Ends waits, so that the gateway can stop soon; may be called by any thread and by a signal handler."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.watch.stop)

    async def close(self) -> None:
        """Closes all connections."""
        await self.watch.close()
        await self.outages.close()
        await self.clients.close()
        if self._tokens is not None:
            await self._tokens.close()
        for connection in self._connections.values():
            await connection.aclose()


def gateway_of(request: Request) -> Gateway:
    """The gateway that a request came to."""
    found: Gateway = request.app.state.gateway
    return found


async def service_of(request: Request) -> Service:
    """The calls of the request's caller; a dependency of every route that needs a key.

    No dependency is a plain function: FastAPI would run each in a thread, which costs more than all of an add.
    """
    gateway, caller = gateway_of(request), caller_of(request.scope)
    client = gateway.clients.of(caller.project)
    return Service(client, caller, gateway.watch, reembedding=gateway.own.reembedding)
