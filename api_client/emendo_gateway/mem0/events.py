"""Events: the state of each accepted write. mem0's command line and plugins ask for them."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from emendo_client.errors import NotFoundError
from emendo_gateway.mem0 import answers, documents, schemas
from emendo_gateway.mem0.answers import Calls, answer
from emendo_gateway.problems.refusals import refusal

router = APIRouter()
# The list shows the newest jobs only.
_MOST_LISTED = 1_000
_LARGEST_PAGE = 100


@router.get("/v1/event/{event_id}/", response_model=schemas.Event)
async def event(request: Request, calls: Calls, event_id: str) -> Response:
    """One event, with its results once it is over."""
    answers.query(request)
    try:
        job, info = await calls.job(event_id)
    except NotFoundError as error:
        raise refusal(error, error=error.message) from None  # where mem0's command line looks
    ended = await calls.wait(job, 1.0) if info.status.is_final else None
    return answer(documents.event(info, ended))


@router.get("/v1/events/", response_model=schemas.Events, openapi_extra=answers.paging(_LARGEST_PAGE))
async def events(request: Request, calls: Calls) -> Response:
    """The newest events, newest first, without their results' texts."""
    number, size = answers.page_of(answers.query(request, "page", "page_size"), 50, _LARGEST_PAGE)
    found = await calls.whole_project().jobs(limit=_MOST_LISTED)
    first = (number - 1) * size
    listed = [documents.event(info) for info in found[first : first + size]]
    return answer(answers.page(request, listed, len(found), number, has_next=len(found) > first + size))
