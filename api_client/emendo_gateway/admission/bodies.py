"""Reads a request's body before any work is done for it: no more of it, and no longer, than the settings allow."""

from __future__ import annotations

import asyncio

from emendo_client.errors import NetworkError, TransientError, ValidationError
from emendo_config.error_codes import ErrorCode
from emendo_config.errors import EmendoError
from emendo_config.gateway_settings import GatewaySettings
from emendo_gateway.admission.asgi import CLOSE, Message, Receive, Scope, header_values
from emendo_gateway.admission.shares import Neighbours, Shares
from emendo_gateway.callers import project_of, state_of
from emendo_gateway.problems.refusals import malformed_body


class ClientGone(Exception):  # noqa: N818  # no failure: nobody is there to be told
    """The client went away before its body had arrived."""


class Bodies:
    """Reads bodies, and bounds the bytes of all of them together.

    After a refusal the rest of the body would still come, so the connection ends.
    """

    def __init__(self, settings: GatewaySettings, neighbours: Neighbours) -> None:
        self._settings = settings
        half = max(settings.max_buffered_bytes // 2, settings.max_body_bytes)  # a body that is allowed finds room
        self._shares = Shares(neighbours, "bytes of bodies", half)
        self._buffered = 0

    async def read(self, scope: Scope, receive: Receive) -> bytes:
        """The request's body, which takes room until `forget`; empty when there is none.

        Raises:
            ValidationError: (BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE)
            NetworkError: (BODY_TOO_SLOW)
            TransientError: (OVERLOADED) other bodies take all the room, or the project has its share of it.
            ClientGone
        """
        declared = _declared(scope)
        if declared is None:
            return b""
        try:
            _require_plain(scope)
            if declared > self._settings.max_body_bytes:
                raise self._too_large()
            body = await self._arrived(project_of(scope), receive)
        except EmendoError:
            state_of(scope).headers.append(CLOSE)  # the rest of the body would still come
            raise
        if not _is_utf8(body):
            self.forget(project_of(scope), body)
            raise malformed_body()
        return body

    def forget(self, project: str, body: bytes) -> None:
        """Gives the room of a project's body to others."""
        if body:
            self._give_back(project, len(body))

    async def _arrived(self, project: str, receive: Receive) -> bytes:
        parts: list[bytes] = []
        held = 0
        try:
            async with asyncio.timeout(self._settings.body_timeout):
                is_more = True
                while is_more:
                    message = await _next_part(receive)
                    parts.append(message.get("body", b""))
                    is_more = message.get("more_body", False)
                    held += len(parts[-1])
                    self._take(len(parts[-1]), held, project)
        except BaseException as error:
            self._give_back(project, held)
            if isinstance(error, TimeoutError):
                raise self._too_slow() from None
            raise
        return b"".join(parts)

    def _give_back(self, project: str, held: int) -> None:
        self._buffered -= held
        self._shares.give_back(project, held)

    def _take(self, more: int, held: int, project: str) -> None:
        self._buffered += more
        self._shares.take(project, more)
        if held > self._settings.max_body_bytes:
            raise self._too_large()
        if self._buffered > self._settings.max_buffered_bytes:
            raise TransientError(
                "the bodies of other requests take all the room there is",
                error_code=ErrorCode.OVERLOADED,
                suggestion="send it again in some seconds",
            )
        self._shares.require_room(project, asyncio.get_running_loop().time())

    def _too_large(self) -> ValidationError:
        return ValidationError(
            f"the body is larger than {self._settings.max_body_bytes} bytes", error_code=ErrorCode.BODY_TOO_LARGE
        )

    def _too_slow(self) -> NetworkError:
        return NetworkError(
            f"the body did not arrive within {self._settings.body_timeout:g} s", error_code=ErrorCode.BODY_TOO_SLOW
        )


async def _next_part(receive: Receive) -> Message:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message


def _declared(scope: Scope) -> int | None:
    """The length that the request declares, 0 for a body in pieces; None when there is no body."""
    lengths = header_values(scope, b"content-length")
    if lengths and lengths[0].isdigit():
        return int(lengths[0][:20]) or None
    return 0 if header_values(scope, b"transfer-encoding") else None


def _require_plain(scope: Scope) -> None:
    if any(value.strip().lower() not in (b"", b"identity") for value in header_values(scope, b"content-encoding")):
        raise ValidationError(
            "the body is compressed, which the gateway does not read",
            error_code=ErrorCode.UNSUPPORTED_MEDIA_TYPE,
            suggestion="send it without Content-Encoding",
        )


def _is_utf8(body: bytes) -> bool:
    """JSON between systems is UTF-8; Python's reader would understand UTF-16 and UTF-32 as well."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True
