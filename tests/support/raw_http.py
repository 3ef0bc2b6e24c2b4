"""HTTP as bytes: requests that no client would send."""

from __future__ import annotations

import socket

from tests.support.gateway import RunningGateway

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
    received = b""
    while part := connection.recv(65_536):
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    status, *fields = head.decode("latin-1").split("\r\n")
    return int(status.split()[1]), {name.lower(): value for name, _, value in (f.partition(": ") for f in fields)}, body
