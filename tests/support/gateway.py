"""A gateway that runs: uvicorn in a thread, on a port of its own, with keys for it."""

from __future__ import annotations

import socket
import threading
import time
import uuid
from typing import Any, Self

import httpx2 as httpx
from fastapi.testclient import TestClient

from emendo_client.exchanges.exchange import run
from emendo_config import GatewaySettings, Keys, Settings
from emendo_config.store.connections import connect
from emendo_config.store.scripts import sender_for
from emendo_gateway.app import create_app
from emendo_gateway.keys import records
from emendo_gateway.keys.api_key import ApiKey
from emendo_gateway.server import make_server
from tests.support.patience import PATIENCE


def browser(settings: Settings, **own: Any) -> TestClient:
    """The application without a server, as a client of this machine sees it."""
    app = create_app(settings, GatewaySettings(**own))
    return TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 50_000))


def make_key(settings: Settings, project: str = "acme", scope: str = "admin", **more: Any) -> tuple[str, ApiKey]:
    """A new key, and its record."""
    return on_control(settings, records.create(Keys(settings.key_prefix), project=project, scope=scope, **more))


def on_control(settings: Settings, exchange: Any) -> Any:
    """The result of an exchange on the control Redis."""
    connection = connect(settings.control_url, settings)
    try:
        return run({"control": sender_for(connection)}, exchange)
    finally:
        connection.close()


class RunningGateway:
    """A gateway in a thread; a context manager.

    Args:
        settings: of the installation it serves.
        own: the gateway's own settings.
    """

    def __init__(self, settings: Settings, **own: Any) -> None:
        self.settings = settings
        self.server = make_server(settings, GatewaySettings(**own), 0)
        self._thread = threading.Thread(target=self.server.run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        deadline = time.monotonic() + PATIENCE
        while not self.server.started:
            assert self._thread.is_alive(), "the gateway ended at once"
            assert time.monotonic() < deadline, "the gateway did not start"
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stops it, and waits until it has ended."""
        self.server.stop()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    @property
    def port(self) -> int:
        """Where it listens."""
        (server,) = self.server.servers
        return int(server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def http(self, key: str = "", **more: Any) -> httpx.Client:
        """A client that sends the key."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=PATIENCE, **more)

    def tenant(self, project: str = "", scope: str = "admin", **more: Any) -> httpx.Client:
        """A client with a key for a project, by default a new one."""
        key, _ = make_key(self.settings, project or f"project-{uuid.uuid4().hex[:8]}", scope, **more)
        return self.http(key)

    def connection(self) -> socket.socket:
        """A connection on which a test sends what no client would."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
