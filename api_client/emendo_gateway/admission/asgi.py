"""The types of ASGI, and small helpers on a request's scope."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
# A field of an answer behind which the connection ends.
CLOSE = (b"connection", b"close")


def header_values(scope: Scope, name: bytes) -> list[bytes]:
    """All values of a field, in their order. Names are in lower case."""
    return [value for key, value in scope["headers"] if key == name]


def client_address(scope: Scope) -> str:
    """The client's address; empty on a unix socket."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def server_address(scope: Scope) -> str:
    """The address at which the request arrived; empty on a unix socket."""
    server = scope.get("server")
    return str(server[0]) if server else ""
