"""One connection of the server: how long it may stay silent, or unread, and the answer to what is no HTTP."""

from __future__ import annotations

import asyncio
import sys
import uuid
from http import HTTPStatus

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from emendo_client.errors import ValidationError
from emendo_config import GatewaySettings
from emendo_config.error_codes import ErrorCode
from emendo_gateway.callers import RequestState
from emendo_gateway.problems.problem import problem_of

_SOON = 0.01  # seconds


def protocol(settings: GatewaySettings) -> type[H11Protocol]:
    """The class of connections with the limits of these settings."""

    class Limited(Connection):
        head_timeout = settings.header_timeout
        answer_timeout = settings.request_timeout

    return Limited


class Connection(H11Protocol):
    """A connection that ends when the next request's head does not arrive in time, or an answer is not read.

    uvicorn itself ends idle connections only. One byte would keep such a connection, and an unread answer as well.

    Attributes:
        head_timeout: seconds for the head of a request, since the connection or the answer before.
        answer_timeout: seconds for an answer to be read.
    """

    head_timeout: float
    answer_timeout: float
    _next_look: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    # When the connection began to wait for its client; None while a request is worked.
    _waits_since: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called once."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self._waits_since = self.loop.time()
        self._next_look = self.loop.call_later(self.head_timeout, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called once."""
        for timer in (self._next_look, self._unread):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Called when bytes came."""
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            self._waits_since = None

    def on_response_complete(self) -> None:
        """Called when an answer was written, which does not mean that it was read."""
        before = self.cycle
        super().on_response_complete()
        if self.cycle is before:  # no other request came with that one
            self._waits_since = self.loop.time()

    def pause_writing(self) -> None:
        """Called when the client does not read as fast as it is answered."""
        super().pause_writing()
        self._unread = self.loop.call_later(self.answer_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        """Called when it has read most of that."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()

    def _look(self) -> None:
        is_closing, is_unread = self.transport.is_closing(), self.transport.get_write_buffer_size() > 0
        limit = self.answer_timeout if is_unread else self.head_timeout
        waited = limit if self._waits_since is None else self.loop.time() - self._waits_since
        is_over = waited >= limit and (is_closing or self._waits_since is not None)
        if is_over and (is_closing or is_unread):
            self.transport.abort()  # to close it would wait for the client
            return
        if is_over:
            self.transport.close()
        delay = self.head_timeout if waited >= limit else limit - waited
        self._next_look = self.loop.call_later(max(delay, _SOON), self._look)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # uvicorn's words
        """Answers what is no HTTP, as a problem; called while that error is handled."""
        is_too_large = getattr(sys.exc_info()[1], "error_status_hint", 0) == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        refused = ValidationError(
            "the head of the request is too large" if is_too_large else "the request is not well-formed HTTP",
            error_code=ErrorCode.HEAD_TOO_LARGE if is_too_large else ErrorCode.VALIDATION,
            suggestion="shorten its fields" if is_too_large else "send it with an HTTP library",
        )
        status, fields, body = problem_of(refused).response(RequestState(uuid.uuid4().hex, "native"))
        try:
            for event in (
                h11.Response(status_code=status, headers=[*fields, (b"connection", b"close")]),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:
            pass  # the request's answer is on its way already
        if self.cycle is not None and not self.cycle.response_complete:  # its body was broken: nobody needs an answer
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()
