"""HTTP as bytes: requests that no client would send."""

from __future__ import annotations

import re
import socket

from emendo_gateway.connection import Connection
from tests.support.gateway import RunningGateway
from tests.support.patience import PATIENCE, until

LIVE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: ([0-9]+)\r\n(?:.+\r\n)*\r\n")
Answer = tuple[int, dict[str, str], bytes]


def raw(gateway: RunningGateway, head: str, body: bytes = b"", more: tuple[bytes, ...] = ()) -> Answer:
    """The answer to bytes as they are: status, fields, body. Reads until the server closes the connection."""
    with gateway.connection() as connection:
        connection.sendall(head.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n" + body)
        for part in more:
            connection.sendall(part)
        return read(connection)


def read(connection: socket.socket) -> Answer:
    """The answer on a connection that the server closes behind it."""
    head, _, body = read_all(connection).partition(b"\r\n\r\n")
    status, *fields = head.decode("latin-1").split("\r\n")
    return int(status.split()[1]), {name.lower(): value for name, _, value in (f.partition(": ") for f in fields)}, body


def read_all(connection: socket.socket) -> bytes:
    """All bytes until the server closes the connection."""
    received = b""
    while part := connection.recv(65_536):
        received += part
    return received


def read_until(connection: socket.socket, *ends: bytes) -> bytes:
    """All bytes until one of these was sent; an answer may come in pieces."""
    received = b""
    while not any(end in received for end in ends):
        part = connection.recv(65_536)
        assert part, received
        received += part
    return received


def connected(gateway: RunningGateway) -> tuple[socket.socket, Connection]:
    """A connection that takes little without being read, and the gateway's end of it."""
    connections = gateway.server.server_state.connections
    before = set(connections)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1_024)
    client.settimeout(PATIENCE)
    client.connect(("127.0.0.1", gateway.port))
    until(lambda: connections > before)
    (served,) = connections - before
    return client, served


def is_closed(connection: socket.socket) -> bool:
    """Reads to the end: True when the server ended the connection; a timeout fails the test."""
    try:
        while connection.recv(65_536):
            pass
    except ConnectionResetError:
        pass
    return True


def asks_again(connection: socket.socket, head: bytes = LIVE) -> bool:
    """True when the connection answers one more request. Reads all of its answer, which comes in pieces."""
    connection.sendall(head + b"\r\n")
    received = b""
    while not (length := _LENGTH.search(received)) or len(received) < length.end() + int(length[1]):
        part = connection.recv(65_536)
        if not part:
            return False
        received += part
    return received.startswith(b"HTTP/1.1 200 ")
