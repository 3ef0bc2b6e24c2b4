"""TCP ports on the loopback interface: free ones, and whether one is taken."""

from __future__ import annotations

import socket

from emendo_config.error_codes import ErrorCode
from emendo_config.errors import ConfigurationError

LOOPBACK = "127.0.0.1"
HIGHEST_PORT = 65_535
_NEXT_PORTS = 100


def free_port() -> int:
    """A port that is free at the moment."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def is_taken(port: int, host: str = LOOPBACK) -> bool:
    """True if a process listens on the port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, port)) == 0


def stable_port(preferred: int, host: str = LOOPBACK) -> int:
    """The preferred port, or the next one above it that is free."""
    for port in range(preferred, min(preferred + _NEXT_PORTS, HIGHEST_PORT + 1)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # else one in TIME_WAIT would seem taken
            try:
                probe.bind((host, port))
            except OSError:
                continue
        if not is_taken(port, host):
            return port
    return free_port()


def require_free(port: int, server: str, option: str) -> None:
    """Checks that no process listens on the port.

    Args:
        server: its name in the message.
        option: the option that sets the port.

    Raises:
        ConfigurationError: the port is taken; the suggestion names the option.
    """
    if is_taken(port):
        raise ConfigurationError(
            f"port {port} is taken, so {server} cannot start there",
            error_code=ErrorCode.PORT_TAKEN,
            suggestion=f"stop what listens there, or give another port with {option} (0 picks a free one)",
        )


def require_address(host: str, port: int, server: str, option: str) -> None:
    """Checks that a process may listen there; see `require_free` for the arguments.

    Raises:
        ConfigurationError: the host is none of this machine's, or the port is kept from this user.
    """
    fault = ""
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in found:
            try:
                with socket.socket(family, kind, protocol) as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(address)
                    return
            except OSError as error:  # the host's other address may do
                fault = str(error.strerror)
    except socket.gaierror as error:
        fault = str(error.strerror)
    except UnicodeError:
        fault = "that is no name of a host"
    raise ConfigurationError(
        f"{server} cannot listen on {host!r}, port {port}: {fault}",
        suggestion=f"give an address of this machine with {option}",
    )


def usable_port(port: int, server: str, option: str) -> int:
    """The port, or a free one for 0.

    Raises:
        ConfigurationError: see `require_free`.
    """
    if not port:
        return free_port()
    require_free(port, server, option)
    return port
