"""Refusals that no EmendoError tells as it is, and the answer to a defect of ours."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from emendo_client.errors import EmendoError, ValidationError, from_document
from emendo_client.models import JobResult, JobStatus
from emendo_config.error_codes import ErrorCode
from emendo_gateway.problems.problem import FieldProblem, Header, Problem, problem_of

log = logging.getLogger(__name__)
_LONGEST_NAME = 100  # characters of a field's name, which the caller chose


class Refusal(Exception):  # noqa: N818  # it carries a whole answer
    """Ends a request with a problem that no EmendoError tells as it is: further fields or members go with it."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.code)
        self.problem = problem


def refusal(error: EmendoError, /, *, headers: tuple[Header, ...] = (), **extra: Any) -> Refusal:
    """An error to raise, with further fields of the answer or members of its document."""
    return Refusal(problem_of(error, headers=headers, **extra))


def error_of(result: JobResult) -> EmendoError:
    """The error of a job that failed, at least in part, or was cancelled: then its record has none."""
    failed = [item.error for item in result.results if item.error is not None]
    document = result.error or (failed[0] if failed else None)
    if document is None and result.status is JobStatus.CANCELLED:
        return EmendoError(
            "the job was cancelled",
            error_code=ErrorCode.CANCELLED,
            suggestion="to do it after all, send the request again, with a new Idempotency-Key if it has one",
        )
    return from_document(document or {})


def unexpected(error: BaseException) -> Problem:
    """The answer to a defect of ours. The log gets where it happened; an exception's words may be a memory's text."""
    where = "".join(traceback.format_tb(error.__traceback__)[-12:])
    log.error("a request failed with %s:\n%s", type(error).__name__, where)
    found = EmendoError(
        "the gateway failed; its log has this request's id and the reason", error_code=ErrorCode.UNEXPECTED
    )
    return problem_of(found)


def malformed_body() -> ValidationError:
    """The error for a body that is no JSON."""
    return ValidationError("the body is not JSON in UTF-8", suggestion="send one JSON value, encoded as UTF-8")


def unfit(failures: Sequence[dict[str, Any]], *, is_json: bool) -> Refusal:
    """The refusal of a request whose parameters have the wrong form.

    Args:
        failures: as pydantic tells them.
        is_json: the body is declared as JSON; what is not is taken for bytes.
    """
    if not is_json and any(each["loc"] == ("body",) and each["type"] != "missing" for each in failures):
        undeclared = ValidationError(
            "the body is not declared as JSON",
            error_code=ErrorCode.UNSUPPORTED_MEDIA_TYPE,
            suggestion="send Content-Type: application/json",
        )
        return refusal(undeclared)
    fields = [_field_problem(each) for each in failures]
    first = fields[0]
    told = ValidationError(f"{first.field}: {first.message}", suggestion="correct the fields that errors names")
    return Refusal(replace(problem_of(told), fields=fields))


def _field_problem(error: dict[str, Any]) -> FieldProblem:
    where = ".".join(str(part)[:_LONGEST_NAME] for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return FieldProblem(where, "there is no such field")
    if error["type"] == "missing":
        return FieldProblem(where, "is missing")
    return FieldProblem(where, str(error["msg"]))
