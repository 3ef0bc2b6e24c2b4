"""The caller of a request and its other state, kept in the ASGI scope from admission to the answer."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any, Literal

from emendo_client.errors import PermissionDeniedError
from emendo_config.error_codes import ErrorCode

Scope = MutableMapping[str, Any]
Dialect = Literal["native", "mem0"]
_STATE = "emendo"
_RANKS = {"read": 0, "write": 1, "admin": 2}
# Paths of mem0's clients. Everything else speaks the native dialect.
_MEM0_PREFIXES = ("/v1/", "/v2/", "/v3/", "/api/v1/webhooks/", "/api/v1/orgs/")


@dataclass(frozen=True, slots=True)
class Caller:
    """The project, scope and user that a request's key stands for.

    Attributes:
        project: nothing the caller does reaches another one.
        scope: `read`, `write` or `admin`; each includes those before it.
        user_id: the only user whose memories it may touch; None for all of the project.
        key_id: empty when the gateway asks for no keys.
        rate: requests in a minute; None for the gateway's own limit, 0 for no limit.
    """

    project: str
    scope: str
    user_id: str | None = None
    key_id: str = ""
    rate: int | None = None

    def require(self, scope: str) -> None:
        """Checks that the caller may do what needs this scope.

        Raises:
            PermissionDeniedError: (KEY_SCOPE)
        """
        if _RANKS[self.scope] < _RANKS[scope]:
            raise PermissionDeniedError(
                f"the key has the scope {self.scope}, and this needs {scope}",
                error_code=ErrorCode.KEY_SCOPE,
                suggestion=f"use a key that was made with --scope {scope}",
            )


@dataclass(slots=True)
class RequestState:
    """The state of one request.

    Attributes:
        dialect: how its answers and errors are written.
        headers: of the answer, whatever it is.
        body: set once it was read; empty without one.
        caller: set once the key was checked.
        query_names: the parameters that its route has; set once the route was found.
    """

    request_id: str
    dialect: Dialect
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    caller: Caller | None = None
    query_names: frozenset[str] = frozenset()


def new_request_id() -> str:
    """A random id, for a request whose caller gives none."""
    return os.urandom(16).hex()


def begin(scope: Scope, request_id: str) -> RequestState:
    """Puts a new state into the scope of a request."""
    state = RequestState(request_id, dialect_of(scope["path"]))
    scope[_STATE] = state
    return state


def state_of(scope: Scope) -> RequestState:
    """The state of a request that `begin` made."""
    found: RequestState = scope[_STATE]
    return found


def caller_of(scope: Scope) -> Caller:
    """The caller of a request that was let in."""
    caller = state_of(scope).caller
    assert caller is not None, "a route is open that is no open path"
    return caller


def project_of(scope: Scope) -> str:
    """The project of a request that was let in; empty before."""
    caller = state_of(scope).caller
    return caller.project if caller is not None else ""


def dialect_of(path: str) -> Dialect:
    """How the answers of a path are written."""
    return "mem0" if path.startswith(_MEM0_PREFIXES) else "native"
