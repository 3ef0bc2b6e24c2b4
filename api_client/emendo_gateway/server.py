"""Runs the gateway on uvicorn, with its limits on connections."""

from __future__ import annotations

from types import FrameType

import uvicorn

from emendo_config import GatewaySettings, Settings
from emendo_gateway.app import create_app
from emendo_gateway.connection import protocol
from emendo_gateway.gateway import Gateway


class Server(uvicorn.Server):
    """A server that tells the gateway when it is to stop, so that waits end at once."""

    def __init__(self, config: uvicorn.Config, gateway: Gateway) -> None:
        super().__init__(config)
        self._gateway = gateway

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called for SIGTERM and SIGINT."""
        self.stop()
        super().handle_exit(sig, frame)

    def stop(self) -> None:
        """Takes no more requests, finishes those under way, and ends `serve`; may be called by any thread."""
        self.should_exit = True
        self._gateway.stop()


def make_server(settings: Settings, own: GatewaySettings, port: int) -> Server:
    """A server for the gateway, not started yet.

    Args:
        port: 0 picks a free one.
    """
    app = create_app(settings, own)
    config = uvicorn.Config(
        app,
        host=own.host,
        port=port,
        http=protocol(own),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        # uvicorn would believe every client of this machine.
        proxy_headers=bool(own.trusted_proxies),
        forwarded_allow_ips=own.trusted_proxies or None,
        h11_max_incomplete_event_size=own.max_header_bytes,
        timeout_graceful_shutdown=max(1, round(own.shutdown_timeout)),
    )
    return Server(config, app.state.gateway)
