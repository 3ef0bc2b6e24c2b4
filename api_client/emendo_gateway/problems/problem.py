"""An error as an answer: problem details (RFC 9457), or mem0's `detail`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from opentelemetry.trace import get_current_span

from emendo_config.error_codes import ErrorCode
from emendo_config.errors import EmendoError
from emendo_gateway.callers import RequestState
from emendo_gateway.problems.statuses import retry_after, status_of

Header = tuple[bytes, bytes]
PROBLEM_JSON = "application/problem+json"
# The page of each error: `GET /errors/<code>` of this gateway.
ERROR_PAGES = "/errors/"
# Details that are ids, words of ours, or a provider's short code. All other texts stay out: they might be a memory's.
_SAFE_DETAILS = frozenset({"job_id", "memory_id", "conflict_id", "project", "allowed", "provider_code"})
_MOST_FIELDS = 20


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One wrong field of a request: its place, such as `body.messages`, and what is wrong. Never its value."""

    field: str
    message: str


@dataclass(frozen=True, slots=True)
class Problem:
    """An answer that tells an error.

    Attributes:
        extra: further members of the document.
        headers: further fields of the answer.
    """

    status: int
    code: str
    title: str
    detail: str
    advice: str = ""
    fields: Sequence[FieldProblem] = ()
    extra: dict[str, Any] = field(default_factory=dict)
    headers: tuple[Header, ...] = ()

    def document(self, state: RequestState) -> dict[str, Any]:
        """The body of the answer, in the dialect of the request."""
        known: dict[str, Any] = {"code": self.code, **self.extra, "request_id": state.request_id}
        if self.advice:
            known["advice"] = self.advice
        if self.fields:
            known["errors"] = [{"field": each.field, "message": each.message} for each in self.fields[:_MOST_FIELDS]]
        if state.dialect == "mem0":
            return {"detail": f"{self.detail} ({self.advice})" if self.advice else self.detail, **known}
        page = f"{ERROR_PAGES}{self.code}"
        return {"type": page, "title": self.title, "status": self.status, "detail": self.detail, **known}

    def response(self, state: RequestState) -> tuple[int, list[Header], bytes]:
        """The status, the fields and the body of the answer; the request's span is told the code."""
        span = get_current_span()
        if span.is_recording():
            span.set_attribute("emendo.error_code", self.code)
        body = json.dumps(self.document(state), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        media_type = "application/json" if state.dialect == "mem0" else PROBLEM_JSON
        fields = [(b"content-type", media_type.encode()), (b"content-length", str(len(body)).encode()), *self.headers]
        return self.status, fields, body


def problem_of(error: EmendoError, /, *, headers: tuple[Header, ...] = (), **extra: Any) -> Problem:
    """The answer that tells an error.

    Args:
        headers: further fields of the answer.
        extra: further members of the document.
    """
    status = status_of(error)
    known = error.error_code in ErrorCode.__members__
    code = ErrorCode[error.error_code] if known else ErrorCode.UNEXPECTED
    seconds = retry_after(error, status)
    if seconds is not None:
        headers = (*headers, (b"retry-after", str(seconds).encode()))
    if status is HTTPStatus.UNAUTHORIZED:
        headers = (*headers, (b"www-authenticate", b'Bearer realm="emendo", Token realm="emendo"'))
    return Problem(
        status=int(status),
        code=str(code),
        title=code.meaning.replace("`", ""),
        detail=error.message,
        advice=(error.suggestion or code.advice).replace("`", ""),
        extra={**_safe(error.details), **extra},
        headers=headers,
    )


def _safe(details: dict[str, Any]) -> dict[str, Any]:
    kept = {
        name: value
        for name, value in details.items()
        if value is None or isinstance(value, bool | int | float) or (name in _SAFE_DETAILS and isinstance(value, str))
    }
    return {"details": kept} if kept else {}
