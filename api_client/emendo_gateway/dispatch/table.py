"""Finds the route of a request, and works the request there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from fastapi.telemetry._api import _route_selected
from starlette.routing import BaseRoute

from emendo_client.errors import NotFoundError, ValidationError
from emendo_config.error_codes import ErrorCode
from emendo_gateway.admission.asgi import App, Receive, Scope, Send
from emendo_gateway.admission.kinds import is_stream
from emendo_gateway.callers import state_of
from emendo_gateway.dispatch.plan import ABSENT, Plan
from emendo_gateway.problems.refusals import malformed_body, refusal, unfit
from emendo_gateway.strict_json import loads

# The kinds of segments that routes have. Both are taken as the text that they are.
_SEGMENT = re.compile(r"\{[a-z0-9_]+(:path)?\}")
_KNOWN_TYPES = 256
# Fields that say when a request may be done, or be done again. To do it without a look at them would break that.
_CONDITIONS = frozenset({b"if-match", b"if-none-match"})
_KEY = frozenset({b"idempotency-key"})


class _Route:
    """A function behind a path."""

    def __init__(self, found: RouteContext) -> None:
        assert found.path is not None
        self.path = found.path
        self.methods = frozenset(found.methods or ())
        self.form: re.Pattern[str] = found.path_regex
        self.is_fixed = "{" not in self.path
        if "{" in _SEGMENT.sub("", self.path):
            raise TypeError(f"the path {self.path} has a segment of a kind that Dispatch does not know")
        self._plan = Plan(found.dependant)
        self._reads_body = self._plan.reads_body
        self._query_names = frozenset(self._plan.query_names())
        conditions = frozenset() if "GET" in self.methods else _CONDITIONS
        makes_job = found.status_code == HTTPStatus.ACCEPTED
        self._unkept = (conditions | (_KEY if makes_job else frozenset())) - set(self._plan.field_names())

    async def answer(self, scope: Scope, values: dict[str, str]) -> Response:
        """The answer of the route.

        Args:
            values: of the path's segments.

        Raises:
            ValidationError: the request has a condition that the route does not look at.
            EmendoError: see the route.
            Refusal: the request does not fit the route's parameters.
        """
        _route_selected(scope=scope, path=self.path)  # the route's name in the request's span
        for name, _ in scope["headers"] if self._unkept else ():
            if name in self._unkept:
                raise ValidationError(
                    f"this call does not take {name.decode().title()}",
                    suggestion="leave it out, if the request may be done all the same; "
                    "items of a batch have expected_version",
                )
        scope["path_params"] = values
        state = state_of(scope)
        state.query_names = self._query_names
        request = Request(scope)
        content_type = request.headers.get("content-type", "") if self._reads_body else ""
        body = _body(state.body, content_type) if self._reads_body else ABSENT
        failures: list[dict[str, Any]] = []
        response = await self._plan.run(request, body, failures)
        if failures:
            raise unfit(failures, is_json=_is_json(content_type))
        if not isinstance(response, Response):
            raise TypeError(f"the function behind {self.path} returns no Response")
        return response


class Table:
    """The routes of an application, by path and method."""

    def __init__(self) -> None:
        self._fixed: dict[str, list[_Route]] = {}
        self._others: list[_Route] = []

    def fill(self, routes: Sequence[BaseRoute]) -> None:
        """Takes the routes in.

        Raises:
            TypeError: `Plan` does not know a kind of parameter. Or a path with segments comes before a fixed one that
                fits it: FastAPI would give that request to the first.
        """
        for found in iter_route_contexts(routes):
            if not isinstance(found.original_route, APIRoute):
                raise TypeError(f"{found.original_route} is no route of FastAPI")
            route = _Route(found)
            if not route.is_fixed:
                self._others.append(route)
                continue
            hiding = [
                each.path for each in self._others if route.methods & each.methods and each.form.match(route.path)
            ]
            if hiding:
                raise TypeError(f"the path {route.path} comes behind {hiding[0]}, which fits it")
            self._fixed.setdefault(route.path, []).append(route)

    def find(self, path: str, method: str) -> tuple[_Route, dict[str, str]]:
        """The route, and the values of its segments.

        Raises:
            NotFoundError: (UNKNOWN_PATH)
            Refusal: (METHOD_NOT_ALLOWED) with the methods that the path takes.
        """
        for route in self._fixed.get(path, ()):
            if method in route.methods:
                return route, {}
        allowed: set[str] = set()
        for route in self._others:
            matched = route.form.fullmatch(path)
            if matched is None:
                continue
            if method in route.methods:
                return route, matched.groupdict()
            allowed |= route.methods
        # A fixed path is documented by itself, so its own methods are told.
        allowed = set().union(*(route.methods for route in self._fixed.get(path, ()))) or allowed
        if not allowed:
            raise NotFoundError("there is nothing at this path", error_code=ErrorCode.UNKNOWN_PATH)
        told = sorted(allowed | ({"HEAD"} if "GET" in allowed and not is_stream(path) else set()))
        error = ValidationError("the path does not take this method", error_code=ErrorCode.METHOD_NOT_ALLOWED)
        raise refusal(error, headers=((b"allow", ", ".join(told).encode()),))


class Dispatch:
    """The innermost application: works each request at its route. FastAPI's own way to a route is not taken."""

    def __init__(self, app: App, table: Table) -> None:
        self._app = app
        self._table = table

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request, or the lifespan."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        route, values = self._table.find(scope["path"], scope["method"])
        response = await route.answer(scope, values)
        await response(scope, receive, send)


def _body(body: bytes, content_type: str) -> Any:
    """The body as JSON; as bytes, which no route takes, if it is not declared as JSON."""
    if not body:
        return ABSENT
    if not _is_json(content_type):
        return body
    try:
        return loads(body)
    except (ValueError, RecursionError):  # also a number of too many digits
        raise malformed_body() from None


@lru_cache(_KNOWN_TYPES)
def _is_json(content_type: str) -> bool:
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))
