"""The outermost middleware: the request's id, the answer's common fields, and the last resort for errors."""

from __future__ import annotations

import re
from collections.abc import Callable

from emendo_config.errors import EmendoError
from emendo_gateway.admission.asgi import App, Message, Receive, Scope, Send, header_values
from emendo_gateway.admission.kinds import Kind, is_stream, kind_of
from emendo_gateway.admission.turns import Turns
from emendo_gateway.callers import RequestState, begin, new_request_id
from emendo_gateway.problems.problem import Problem, problem_of
from emendo_gateway.problems.refusals import Refusal, unexpected

_REQUEST_ID = re.compile(rb"[A-Za-z0-9_.:-]{1,64}")
# Fields of every answer that does not set them itself. No answer is a page that runs anything.
_COMMON = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Envelope:
    """Gives each request an id, and each answer its common fields. An error becomes a problem.

    HEAD is worked as GET, and answered without the body.

    Args:
        notice: called with each error.
    """

    def __init__(self, app: App, notice: Callable[[EmendoError], None]) -> None:
        self._app = app
        self._notice = notice
        self._turns = Turns()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request, or the lifespan."""
        if scope["type"] == "http":
            await self._request(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        else:  # nothing here speaks WebSocket
            await send({"type": "websocket.close", "code": 1008})

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = begin(scope, _request_id(scope))
        started = False
        is_head = scope["method"] == "HEAD"
        kind = kind_of(scope)
        if is_head and not is_stream(scope["path"]):
            scope = {**scope, "method": "GET"}

        async def completed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = _headers(state, list(message.get("headers", ())))
            elif is_head:
                message["body"] = b""
            await send(message)

        try:
            if kind is not Kind.HEALTH:
                await self._turns.take()
            await self._app(scope, receive, completed)
        except EmendoError as error:
            self._notice(error)
            problem = problem_of(error)
        except Refusal as refused:
            problem = refused.problem
        except Exception as error:  # noqa: BLE001  # the last resort
            problem = unexpected(error)
        else:
            return
        if not started:  # else the answer is cut short, and the server closes the connection
            await _send_problem(problem, state, completed)


async def _send_problem(problem: Problem, state: RequestState, send: Send) -> None:
    status, headers, body = problem.response(state)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _headers(state: RequestState, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    given = {name.lower() for name, _ in headers}
    more = [*state.headers, (b"x-request-id", state.request_id.encode()), *_COMMON]
    return [*headers, *(pair for pair in more if pair[0] not in given)]


def _request_id(scope: Scope) -> str:
    """The caller's own id for the request, if it is one that a log can show; else a new one."""
    given = header_values(scope, b"x-request-id")
    if len(given) == 1 and _REQUEST_ID.fullmatch(given[0]):
        return given[0].decode()
    return new_request_id()
