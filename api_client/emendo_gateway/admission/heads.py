"""Refuses requests whose head is too large, or whose host name the gateway does not know.

A page in a browser can give a name of its own the address of this machine. It would then speak to a gateway that asks
for no key. That takes a name, so addresses are accepted. A page can also send some writes to this machine's own name,
without reading the answers. So a gateway that asks for no key takes none from a page of another site.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import unquote_to_bytes

from emendo_client.errors import PermissionDeniedError, ValidationError
from emendo_config.error_codes import ErrorCode
from emendo_config.gateway_settings import GatewaySettings
from emendo_config.urls import is_loopback
from emendo_gateway.admission.asgi import CLOSE, App, Receive, Scope, Send, header_values
from emendo_gateway.callers import state_of

_MOST_FIELDS = 100
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.%A-Za-z]{2,80}\]|[^\s:@/\\?#\[\]]{1,253})(:[0-9]{1,5})?")


class Heads:
    """Lets requests pass whose head is of a usual size and names a known host."""

    def __init__(self, app: App, settings: GatewaySettings) -> None:
        self._app = app
        self._longest = settings.max_header_bytes
        self._asks_no_key = settings.auth == "off"
        self._names = {"localhost", settings.host.lower(), *settings.host_names}
        self._suffixes = tuple(name[1:] for name in settings.host_names if name.startswith("*."))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] == "http":
            self._require_small(scope)
            _require_one_length(scope)
            _require_utf8(scope)
            if "*" not in self._names:
                hosts = header_values(scope, b"host")
                if hosts or scope["http_version"] != "1.0":  # which knows no such field; no browser speaks it
                    self._require_known(hosts)
                if self._asks_no_key:
                    self._require_own_page(header_values(scope, b"origin"))
        await self._app(scope, receive, send)

    def _require_small(self, scope: Scope) -> None:
        """The server bounds a head that comes in pieces only. Behind such a refusal too, the connection ends."""
        fields = scope["headers"]
        size = sum(len(name) + len(value) for name, value in fields) + len(scope["path"]) + len(scope["query_string"])
        if size > self._longest or len(fields) > _MOST_FIELDS:
            state_of(scope).headers.append(CLOSE)
            raise ValidationError(
                f"the head of the request has more than {self._longest} bytes, or more than {_MOST_FIELDS} fields",
                error_code=ErrorCode.HEAD_TOO_LARGE,
            )

    def _require_known(self, given: list[bytes]) -> None:
        found = _HOST.fullmatch(given[0].decode("latin-1").strip()) if len(given) == 1 else None
        if found is None:
            raise ValidationError("the request has no Host that can be read")
        name = found["name"].lower().rstrip(".")
        if not self._knows(name) and not _is_address(name):
            raise _refused("the gateway does not know the host name of this request")

    def _require_own_page(self, origins: list[bytes]) -> None:
        for origin in origins:
            found = _HOST.fullmatch(origin.decode("latin-1").partition("://")[2])
            name = found["name"].lower() if found else ""
            if not self._knows(name) and not is_loopback(name):
                raise _refused("the request comes from a page of a site that the gateway does not know")

    def _knows(self, name: str) -> bool:
        return name in self._names or name.endswith(self._suffixes)


def _refused(problem: str) -> PermissionDeniedError:
    return PermissionDeniedError(
        problem,
        error_code=ErrorCode.HOST_REFUSED,
        suggestion="add the name to EMENDO_GATEWAY_HOSTS, where the gateway runs",
    )


def _require_one_length(scope: Scope) -> None:
    """A proxy may take one of two lengths and the server the other: the rest would be a request that no proxy saw."""
    if not header_values(scope, b"transfer-encoding"):
        return
    if header_values(scope, b"content-length") or scope["http_version"] == "1.0":  # which knows no pieces
        state_of(scope).headers.append(CLOSE)
        raise ValidationError(
            "the length of the request's body has two meanings",
            suggestion="send either Content-Length or, with HTTP/1.1, Transfer-Encoding",
        )


def _require_utf8(scope: Scope) -> None:
    """A wrong byte would be read as a replacement character, and so as part of another id."""
    try:
        for part in (scope.get("raw_path") or b"", scope["query_string"]):
            if b"%" in part:
                unquote_to_bytes(part).decode()
    except UnicodeDecodeError:
        raise ValidationError(
            "the address of the request is not UTF-8", suggestion="encode it as UTF-8 before its %XX"
        ) from None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
