"""Free and taken TCP ports on the loopback interface."""

from __future__ import annotations

import socket

from emendo_config.errors import ConfigurationError

LOOPBACK = "127.0.0.1"
HIGHEST_PORT = 65_535


def free_port() -> int:
    """A port nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def is_taken(port: int, host: str = LOOPBACK) -> bool:
    """True when something listens on the port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, port)) == 0


def require_free(port: int, what: str, option: str) -> None:
    """Refuses a port somebody else listens on.

    Raises:
        ConfigurationError: it names the port, and the option that gives another.
    """
    if is_taken(port):
        raise ConfigurationError(
            f"port {port} is taken, so {what} cannot start there",
            error_code="PORT_TAKEN",
            suggestion=f"stop what listens there, or give another port with {option} (0 picks a free one)",
        )


def usable_port(port: int, what: str, option: str) -> int:
    """The port, or a free one for 0.

    Raises:
        ConfigurationError: see `require_free`.
    """
    if not port:
        return free_port()
    require_free(port, what, option)
    return port
