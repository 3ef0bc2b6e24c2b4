"""FastAPI's errors, and ours, as problems; `install` registers them all."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from emendo_client.errors import NotFoundError, ValidationError
from emendo_config.error_codes import ErrorCode
from emendo_config.errors import EmendoError
from emendo_gateway.callers import state_of
from emendo_gateway.problems.problem import FieldProblem, Header, Problem, problem_of

log = logging.getLogger(__name__)
_METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")
_LONGEST_NAME = 100  # characters of a field's name, which the caller chose


class Refusal(Exception):  # noqa: N818  # it carries a whole answer
    """Ends a request with a problem that no EmendoError tells as it is: further fields or members go with it."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.code)
        self.problem = problem


def install(app: FastAPI) -> None:
    """Makes the application answer every error as a problem."""
    for kind, handler in (
        (EmendoError, _on_emendo_error),
        (Refusal, _on_refusal),
        (RequestValidationError, _on_invalid_request),
        (HTTPException, _on_http_exception),
    ):
        app.add_exception_handler(kind, handler)


def unexpected(error: BaseException) -> Problem:
    """The answer to a defect of ours. The log gets where it happened; an exception's words may be a memory's text."""
    where = "".join(traceback.format_tb(error.__traceback__)[-12:])
    log.error("a request failed with %s:\n%s", type(error).__name__, where)
    found = EmendoError(
        "the gateway failed; its log has this request's id and the reason", error_code=ErrorCode.UNEXPECTED
    )
    return problem_of(found)


def _answer(request: Request, problem: Problem) -> Response:
    status, headers, body = problem.response(state_of(request.scope))
    response = Response(body, status_code=status)
    response.raw_headers = headers
    return response


async def _on_emendo_error(request: Request, error: Any) -> Response:
    return _answer(request, problem_of(error))


async def _on_refusal(request: Request, error: Any) -> Response:
    return _answer(request, error.problem)


async def _on_http_exception(request: Request, error: Any) -> Response:
    if isinstance(error.__cause__, EmendoError):  # our reader of bodies, behind FastAPI's error for all of them
        return _answer(request, problem_of(error.__cause__))
    headers = tuple((name.lower().encode(), value.encode()) for name, value in (error.headers or {}).items())
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:  # the framework names those of the first route only
        headers = ((b"allow", ", ".join(_methods(request)).encode()),)
    return _answer(request, _framework_problem(error.status_code, headers))


def _methods(request: Request) -> list[str]:
    """The methods that the request's path takes: those that are documented for it, else those of all fitting routes."""
    documented = request.app.openapi()["paths"].get(request.scope["path"])
    found = {method.upper() for method in documented or ()} or {
        method
        for method in _METHODS
        for route in request.app.routes
        if route.matches({**request.scope, "method": method})[0] is Match.FULL
    }
    return sorted(found | ({"HEAD"} if "GET" in found else set()))


async def _on_invalid_request(request: Request, error: Any) -> Response:
    found: Sequence[dict[str, Any]] = error.errors()
    if any(each["type"] == "json_invalid" for each in found):
        return _answer(request, problem_of(malformed_body()))
    if _is_undeclared(request, found):
        refused = ValidationError(
            "the body is not declared as JSON",
            error_code=ErrorCode.UNSUPPORTED_MEDIA_TYPE,
            suggestion="send Content-Type: application/json",
        )
        return _answer(request, problem_of(refused))
    fields = [_field_problem(each) for each in found]
    first = fields[0]
    told = ValidationError(f"{first.field}: {first.message}", suggestion="correct the fields that errors names")
    problem = problem_of(told)
    return _answer(
        request, Problem(problem.status, problem.code, problem.title, problem.detail, problem.advice, fields)
    )


def malformed_body() -> ValidationError:
    """The error for a body that is no JSON."""
    return ValidationError("the body is not JSON in UTF-8", suggestion="send one JSON value, encoded as UTF-8")


def _framework_problem(status: int, headers: tuple[Header, ...]) -> Problem:
    error: EmendoError
    if status == HTTPStatus.NOT_FOUND:
        error = NotFoundError("there is nothing at this path", error_code=ErrorCode.UNKNOWN_PATH)
    elif status == HTTPStatus.METHOD_NOT_ALLOWED:
        error = ValidationError("the path does not take this method", error_code=ErrorCode.METHOD_NOT_ALLOWED)
    else:  # FastAPI's answer to a body that it cannot read
        error = malformed_body()
    return problem_of(error, headers=headers)


def _is_undeclared(request: Request, found: Sequence[dict[str, Any]]) -> bool:
    """True when FastAPI took the body for bytes, because its type is not JSON."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_json = media_type == "application/json" or (
        media_type.startswith("application/") and media_type.endswith("+json")
    )
    return not is_json and any(each["loc"] == ("body",) and each["type"] != "missing" for each in found)


def _field_problem(error: dict[str, Any]) -> FieldProblem:
    where = ".".join(str(part)[:_LONGEST_NAME] for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return FieldProblem(where, "there is no such field")
    if error["type"] == "missing":
        return FieldProblem(where, "is missing")
    return FieldProblem(where, str(error["msg"]))


def refusal(error: EmendoError, /, *, headers: tuple[Header, ...] = (), **extra: Any) -> Refusal:
    """An error to raise, with further fields of the answer or members of its document."""
    return Refusal(problem_of(error, headers=headers, **extra))
