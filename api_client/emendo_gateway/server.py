"""Runs the gateway on uvicorn, with its limits on connections."""

from __future__ import annotations

import logging
import resource
from types import FrameType

import uvicorn

from emendo_config import GatewaySettings, Settings
from emendo_gateway.app import create_app
from emendo_gateway.connection import REFUSED_SHARE, protocol
from emendo_gateway.gateway import Gateway

log = logging.getLogger(__name__)
# Files that a gateway has open beside its connections: those to Redis, its code's, and connections that are refused.
_OTHER_FILES = 256


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
    own = own.model_copy(update={"max_connections": _places(own.max_connections)})
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
        timeout_keep_alive=own.idle_timeout,  # type: ignore[arg-type]  # seconds of the event loop's clock
    )
    return Server(config, app.state.gateway)


def _places(connections: int) -> int:
    """How many connections there can be, once the process may open as many files as the system lets it."""
    wanted = connections + connections // REFUSED_SHARE + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    places = max(1, (soft - _OTHER_FILES) * REFUSED_SHARE // (REFUSED_SHARE + 1))
    log.warning(
        "the limit of open files (%d) leaves room for %d connections, and EMENDO_GATEWAY_MAX_CONNECTIONS is %d",
        soft,
        places,
        connections,
    )
    return places
