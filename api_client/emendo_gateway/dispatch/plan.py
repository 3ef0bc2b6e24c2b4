"""The parameters of one route's function, worked out once: where each is in a request, and what checks it.

It means what FastAPI's `solve_dependencies` means, for the kinds of parameters that the gateway's routes have. Another
kind is an error when the application is made, never a parameter that is read in another way.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NoReturn, get_args, get_origin

from fastapi import Request, params
from fastapi.dependencies.models import Dependant
from pydantic import BaseModel

ABSENT: Any = object()
Failure = dict[str, Any]
# Values that no function can change, so that all requests may have the same one as a default.
_UNCHANGEABLE = (type(None), bool, int, float, str, bytes)
# Kinds of parameters that FastAPI knows and this does not.
_UNKNOWN = (
    "cookie_params",
    "websocket_param_name",
    "http_connection_param_name",
    "response_param_name",
    "background_tasks_param_name",
    "security_scopes_param_name",
    "own_oauth_scopes",
    "concurrency",
)


class _Parameter:
    """One value of a path, a query, a header or a body, by its declaration."""

    def __init__(self, field: Any, place: str) -> None:
        info = field.field_info
        self.name: str = field.name
        self.alias: str = info.validation_alias or field.alias
        self.raw_name = self.alias.lower().encode()  # of a header
        self.is_list = _is_list(info.annotation)
        self._loc = ("body",) if place == "body" else (place, self.alias)
        self._is_required: bool = info.is_required()
        self._default = None if self._is_required else info.get_default(call_default_factory=True)
        self._validate = field.validate
        is_model = inspect.isclass(info.annotation) and issubclass(info.annotation, BaseModel)
        if isinstance(info, params.Form) or (is_model and place != "body"):
            _refuse(f"the parameter {self.name} is a form, or a model of several parameters")
        if info.validate_default or not isinstance(self._default, _UNCHANGEABLE):
            _refuse(f"the default of the parameter {self.name} is not simple")

    def value(self, given: Any, failures: list[Failure]) -> Any:
        """The value for the function; a wrong one is noted."""
        if given is ABSENT:
            if self._is_required:
                failures.append({"type": "missing", "loc": self._loc, "msg": "Field required", "input": None})
            return self._default
        value, found = self._validate(given, {}, loc=self._loc)
        failures += found
        return value


class Plan:
    """How one function is called: its parameters, and the dependencies that are called before it."""

    def __init__(self, dependant: Dependant) -> None:
        strange = [name for name in _UNKNOWN if getattr(dependant, name)]
        call = dependant.call
        if strange or call is None or not inspect.iscoroutinefunction(call) or len(dependant.body_params) > 1:
            _refuse(f"{call} is no coroutine function, has two bodies, or one of {strange}")
        self._call: Callable[..., Awaitable[Any]] = call
        self.result_name = dependant.name
        self._request_name = dependant.request_param_name
        self._before = [Plan(each) for each in dependant.dependencies]
        self._path = [_Parameter(each, "path") for each in dependant.path_params]
        self._query = [_Parameter(each, "query") for each in dependant.query_params]
        self._headers = [_Parameter(each, "header") for each in dependant.header_params]
        self._body = [_Parameter(each, "body") for each in dependant.body_params]

    @property
    def reads_body(self) -> bool:
        """True if a function has the body as a parameter."""
        return bool(self._body) or any(each.reads_body for each in self._before)

    async def run(self, request: Request, body: Any, failures: list[Failure]) -> Any:
        """Calls the function. If one of its parameters is wrong, that is noted, and the function is not called."""
        values: dict[str, Any] = {}
        known = len(failures)
        for each in self._before:
            found = await each.run(request, body, failures)
            if each.result_name is not None:
                values[each.result_name] = found
        scope = request.scope
        for parameter in self._path:
            values[parameter.name] = parameter.value(scope["path_params"].get(parameter.alias, ABSENT), failures)
        for parameter in self._query:
            values[parameter.name] = parameter.value(_in_query(request, parameter), failures)
        for parameter in self._headers:
            values[parameter.name] = parameter.value(_in_fields(scope["headers"], parameter), failures)
        for parameter in self._body:
            values[parameter.name] = parameter.value(body, failures)
        if self._request_name is not None:
            values[self._request_name] = request
        return await self._call(**values) if len(failures) == known else None

    def query_names(self) -> Iterator[str]:
        """The names of all query parameters."""
        yield from (each.alias for each in self._query)
        for each in self._before:
            yield from each.query_names()

    def field_names(self) -> Iterator[bytes]:
        """The names of all fields of a head, in lower case."""
        yield from (each.raw_name for each in self._headers)
        for each in self._before:
            yield from each.field_names()


def _in_query(request: Request, parameter: _Parameter) -> Any:
    if not request.scope["query_string"]:
        return ABSENT
    values = request.query_params.getlist(parameter.alias)  # the request keeps what was parsed
    if not values:
        return ABSENT
    return values if parameter.is_list else values[-1]


def _in_fields(fields: list[tuple[bytes, bytes]], parameter: _Parameter) -> Any:
    name = parameter.raw_name
    values = [value.decode("latin-1") for key, value in fields if key == name]
    if not values:
        return ABSENT
    return values if parameter.is_list else values[0]


def _is_list(annotation: Any) -> bool:
    """True for `list[str]` and for `list[str] | None`."""
    return get_origin(annotation) is list or any(get_origin(each) is list for each in get_args(annotation))


def _refuse(problem: str) -> NoReturn:
    raise TypeError(f"a route cannot be planned: {problem}")
