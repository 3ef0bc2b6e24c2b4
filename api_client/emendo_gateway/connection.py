"""One connection of the server: how long it may stay silent, or unread, and the answer to what is no HTTP.

A connection is kept between requests for longer than load balancers keep theirs. So their number is bounded. When there
are too many, the one that has waited longest for a request makes room. Only if all of them work, a new one is refused.

A request is often refused before its body has come: its key is wrong, or the body is too large. Most clients read the
answer only when they have sent everything. To close the connection earlier would take the answer from them. So the rest
of the body is read and dropped, up to a size and a time.
"""

from __future__ import annotations

import asyncio
import math
import sys
from collections import OrderedDict
from http import HTTPStatus
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from emendo_client.errors import TransientError, ValidationError
from emendo_config import GatewaySettings
from emendo_config.error_codes import ErrorCode
from emendo_config.errors import EmendoError
from emendo_gateway.callers import RequestState, new_request_id
from emendo_gateway.problems.problem import problem_of

_SOON = 0.01  # seconds
# Beyond the most connections, one for this many of them is told that there is no room. Further ones are cut at once.
REFUSED_SHARE = 8
# Of a refused body this many times the largest one is read and dropped; then the connection is cut.
_DROPPED_BODIES = 16
# The client has sent all of its request.
_AT_AN_END = (h11.DONE, h11.MUST_CLOSE)


def protocol(settings: GatewaySettings) -> type[H11Protocol]:
    """The class of connections with the limits of these settings."""

    class Limited(Connection):
        head_timeout = settings.header_timeout
        most_connections = settings.max_connections
        waiting: ClassVar[OrderedDict[Connection, None]] = OrderedDict()
        body_timeout = settings.body_timeout
        answer_timeout = settings.request_timeout
        most_dropped = _DROPPED_BODIES * settings.max_body_bytes

    return Limited


class Connection(H11Protocol):
    """A connection that ends when the next request's head does not arrive in time, or an answer is not read.

    uvicorn itself ends idle connections only. One byte would keep such a connection, and an unread answer as well.

    Attributes:
        head_timeout: seconds for the head of a request, from its first byte or the connection on.
        most_connections: open connections of this class.
        waiting: those without a request, by the time since when, oldest first. The class has one for all.
        body_timeout: seconds for the rest of a body behind its answer.
        answer_timeout: seconds for an answer to be read.
        most_dropped: bytes of the rest of a body.
    """

    head_timeout: float
    most_connections: int
    waiting: ClassVar[OrderedDict[Connection, None]]
    body_timeout: float
    answer_timeout: float
    most_dropped: int
    _next_look: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    # When the connection began to wait for its client; None while a request is worked.
    _waits_since: float | None = None
    # True between an answer and the first byte of the next request: uvicorn ends a connection that stays so.
    _is_idle = False
    # Bytes that came behind the answer of their request; and whether nothing is to come behind them.
    _dropped = 0
    _lingers = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called once."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self._waits_since = self.loop.time()
        self._next_look = self.loop.call_later(self.head_timeout, self._look)
        if self._has_room():
            self.waiting[self] = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Called once."""
        self.waiting.pop(self, None)
        for timer in (self._next_look, self._unread):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Called when bytes came."""
        is_rest = self._is_answered
        if is_rest:
            self._dropped += len(data)
            if self._dropped > self.most_dropped:
                self.transport.abort()
                return
            if self._lingers:
                return
        is_first_part, self._is_idle = self._is_idle, False
        super().data_received(data)
        if is_first_part and self._waits_since is not None:  # the head is not whole yet
            self._look_in(self.head_timeout)
        if is_rest and self._waits_since is not None and not self._is_answered:
            self._begin_to_wait()

    @property
    def _is_answered(self) -> bool:
        """True while the rest of a request comes that was answered without it."""
        if self._lingers:
            return True
        return self.cycle is not None and self.cycle.response_complete and self.conn.their_state is h11.SEND_BODY

    def handle_events(self) -> None:
        """Called when bytes are to be read as HTTP."""
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            self._waits_since = None
            self.waiting.pop(self, None)
            self._dropped = 0
            self.cycle.transport = _Answering(self)  # type: ignore[assignment]

    def on_response_complete(self) -> None:
        """Called when an answer was written, which does not mean that it was read."""
        before = self.cycle
        super().on_response_complete()
        if self.cycle is before:  # no other request came with that one
            self._begin_to_wait()
            self.waiting[self] = None

    def _begin_to_wait(self) -> None:
        """For the next request, or for the rest of one that was answered without it."""
        self._waits_since = self.loop.time()
        self._is_idle = self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]
        if not self._is_idle:  # `_look` ends it
            self._unset_keepalive_if_required()
        elif self.timeout_keep_alive_task is None:  # the rest of a request has come
            later = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)
            self.timeout_keep_alive_task = later

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
        limit = self.body_timeout if self._is_answered else self.head_timeout
        if self._is_idle:
            limit = math.inf
        if is_unread:
            limit = self.answer_timeout
        waited = limit if self._waits_since is None else self.loop.time() - self._waits_since
        is_over = waited >= limit and (is_closing or self._waits_since is not None)
        if is_over and is_unread:
            self.transport.abort()  # to close it would wait for the client
            return
        if is_over:
            self.transport.close()
        self._look_in(min(self.head_timeout, math.inf if waited >= limit else limit - waited))

    def _look_in(self, delay: float) -> None:
        if self._next_look is not None:
            self._next_look.cancel()
        self._next_look = self.loop.call_later(max(delay, _SOON), self._look)

    def _has_room(self) -> bool:
        """True if this connection may stay; else it is told so."""
        beyond = len(self.connections) - self.most_connections
        if beyond <= 0:
            return True
        if self.waiting:
            silent, _ = self.waiting.popitem(last=False)
            silent.transport.close()
            return True
        if beyond > max(1, self.most_connections // REFUSED_SHARE):  # too many to be told
            self.transport.abort()
            return False
        self._lingers = True  # before it has sent its request, it would not see an answer of a closed connection
        overloaded = TransientError(
            "the gateway has as many connections as it takes, and all of them work",
            error_code=ErrorCode.OVERLOADED,
            suggestion="send it again in some seconds",
        )
        self._say(overloaded)
        self.transport.write_eof()
        return False

    def shutdown(self) -> None:
        """Called when the server is to stop."""
        if self._lingers:
            self.transport.close()
        else:
            super().shutdown()

    def close(self) -> None:
        """Ends the connection behind an answer, so that its client can read that also while it still sends."""
        if self.transport.is_closing():
            return
        if self.conn.their_state in _AT_AN_END:
            self.transport.close()
            return
        self._lingers = True
        self._waits_since = self.loop.time()
        self.transport.write_eof()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # uvicorn's words
        """Answers what is no HTTP, as a problem; called while that error is handled."""
        is_too_large = getattr(sys.exc_info()[1], "error_status_hint", 0) == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        refused = ValidationError(
            "the head of the request is too large" if is_too_large else "the request is not well-formed HTTP",
            error_code=ErrorCode.HEAD_TOO_LARGE if is_too_large else ErrorCode.VALIDATION,
            suggestion="shorten its fields" if is_too_large else "send it with an HTTP library",
        )
        self._say(refused)
        if self.cycle is not None:  # its body was broken: nobody needs an answer
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.close()

    def _say(self, error: EmendoError) -> None:
        """Writes an error that no request of the connection is answered with."""
        status, fields, body = problem_of(error).response(RequestState(new_request_id(), "native"))
        try:
            for event in (
                h11.Response(status_code=status, headers=[*fields, (b"connection", b"close")]),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:
            pass  # the request's answer is on its way already


class _Answering:
    """The transport as one request sees it. It sends the head of an answer with the first part of the body."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._transport = connection.transport
        self._head: bytes | None = None  # empty once it was sent
        self.is_closing = connection.transport.is_closing

    def write(self, data: bytes) -> None:
        """Sends it; the first part, which is the head, in this turn of the loop or at the beginning of the next."""
        if self._head is None:
            self._head = data
            self._connection.loop.call_soon(self._send_head)
            return
        if self._head:
            self._head, data = b"", self._head + data
        if data:
            self._transport.write(data)

    def close(self) -> None:
        """See `Connection.close`."""
        self._send_head()
        self._connection.close()

    def _send_head(self) -> None:
        if self._head:
            self._transport.write(self._head)
            self._head = b""
