"""How the mem0 surface answers: JSON always, and a write after it is done, or with its event when that takes longer."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import Depends, Request, Response

from emendo_client._async.job import AsyncJob
from emendo_client.errors import TransientError, ValidationError
from emendo_client.models import JobResult, JobStatus
from emendo_config.error_codes import ErrorCode
from emendo_gateway.callers import state_of
from emendo_gateway.gateway import gateway_of, service_of
from emendo_gateway.mem0 import documents, schemas
from emendo_gateway.problems.refusals import error_of, refusal
from emendo_gateway.queries import checked_query
from emendo_gateway.service import Service

# Query parameters of older clients, which they send everywhere.
_OLDER = ("org_id", "project_id", "output_format", "version")
MOST_FAILURES = 100
LAST_PAGE = 1_000_000


Calls = Annotated[Service, Depends(service_of)]


# The documented answers of a write that is waited for.
PENDING: dict[int | str, dict[str, Any]] = {
    202: {"model": schemas.Pending, "description": "The write is accepted, and not applied yet."}
}


def answer(document: Any, status: int = 200) -> Response:
    """A document as JSON."""
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return Response(body, status_code=status, media_type="application/json")


def note_ignored(request: Request, names: Iterable[str]) -> None:
    """Names the parameters without effect in `X-Ignored-Params`."""
    told = ", ".join(sorted(set(names)))
    if told:
        state_of(request.scope).headers.append((b"x-ignored-params", told.encode()))


def parameters(**schema: dict[str, Any]) -> dict[str, Any]:
    """How the parameters that `query` reads are documented: `openapi_extra` of a route."""
    return {"parameters": [{"name": name, "in": "query", "schema": each} for name, each in schema.items()]}


def paging(largest: int) -> dict[str, Any]:
    """How `page_of` is documented."""
    page = {"type": "integer", "minimum": 1, "maximum": LAST_PAGE}
    return parameters(page=page, page_size={**page, "maximum": largest})


def query(request: Request, *known: str, ignored: tuple[str, ...] = ()) -> dict[str, str]:
    """The query's parameters.

    Args:
        ignored: names that are accepted and have no effect.

    Raises:
        ValidationError: one is unknown, or given twice.
    """
    silent = (*ignored, *_OLDER)
    found = checked_query(
        request, (*known, *silent), lambda: f"this call knows: {', '.join((*known, *ignored)) or 'none'}"
    )
    note_ignored(request, (name for name in found if name in silent))
    return {name: value for name, value in found.items() if name in known}


def page_of(given: dict[str, str], size: int, largest: int) -> tuple[int, int]:
    """The page and its size that a query asks for.

    Raises:
        ValidationError
    """
    return _number(given, "page", 1, LAST_PAGE), _number(given, "page_size", size, largest)


def _number(given: dict[str, str], name: str, default: int, largest: int) -> int:
    text = given.get(name, str(default))
    number = int(text) if text.isascii() and text.isdigit() and len(text) < len("1000000000") else 0
    if not 1 <= number <= largest:
        raise ValidationError(f"{name} is no whole number from 1 to {largest}")
    return number


def page(request: Request, results: list[Any], count: int, number: int, *, has_next: bool) -> dict[str, Any]:
    """One page of a list, with the addresses of its neighbours."""

    def address(other: int) -> str:
        return str(request.url.include_query_params(page=other))

    return {
        "count": count,
        "next": address(number + 1) if has_next else None,
        "previous": address(number - 1) if number > 1 else None,
        "results": results,
    }


async def ended(request: Request, calls: Service, job: AsyncJob) -> JobResult | None:
    """The result of a job; None if it has none within `EMENDO_GATEWAY_MAX_WAIT` seconds.

    Raises:
        Refusal: the job was cancelled, or failed at least in part: the error of the first item that did. `event_id`
            leads to the rest.
    """
    found = await calls.wait(job, gateway_of(request).own.max_wait)
    if found is None or found.status is JobStatus.SUCCEEDED:
        return found
    failed = [item for item in found.results if item.error is not None]
    told = [documents.result(item) for item in failed[:MOST_FAILURES]]
    error, succeeded = error_of(found), len(found.results) - len(failed)
    raise refusal(error, event_id=job.id, succeeded=succeeded, failed=len(failed), results=told)


def not_yet(job: AsyncJob) -> Exception:
    """The error for a write whose result the answer would hold, and that is not done in time."""
    error = TransientError(
        "the change is accepted and not applied yet",
        error_code=ErrorCode.REQUEST_TIMEOUT,
        suggestion=f"do not send it again: /v1/event/{job.id}/ tells what became of it",
    )
    return refusal(error, event_id=job.id)


def pending(job: AsyncJob, message: str) -> Response:
    """The answer for a write that is accepted and not applied yet."""
    return answer({"message": message, "status": "PENDING", "event_id": job.id}, 202)
