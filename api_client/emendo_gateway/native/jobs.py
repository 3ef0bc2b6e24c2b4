"""Jobs: their state, with or without waiting for the end."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from emendo_client.errors import ValidationError
from emendo_client.models import ItemResult, JobStatus, Progress
from emendo_client.requests import validation
from emendo_gateway.admission.asgi import header_values
from emendo_gateway.gateway import gateway_of, service_of
from emendo_gateway.native import answers, schemas, streams
from emendo_gateway.native.parameters import Limit, Wait
from emendo_gateway.service import Service

router = APIRouter(prefix="/jobs", tags=["jobs"])
Calls = Annotated[Service, Depends(service_of)]
# A running job answers at its next step.
_CANCEL_SECONDS = 5.0
JobId = Annotated[
    str,
    Path(description="The id that an accepted job has.", json_schema_extra={"pattern": f"^{validation.JOB_ID_FORM}$"}),
]
_LONGEST_CURSOR = 9  # digits


class _Events(StreamingResponse):
    """FastAPI's own answer of this type wants to make the events itself: then no error could be told before them."""

    media_type = "text/event-stream"


class Results(BaseModel):
    """One page of a job's results by item; `next_cursor` is null behind the last one."""

    results: list[ItemResult]
    next_cursor: str | None = None


@router.get("", summary="List jobs", response_model=schemas.Jobs)
async def find(
    calls: Calls,
    status: Annotated[
        str | None, Query(description="Only jobs in this state.", json_schema_extra={"enum": [*JobStatus]})
    ] = None,
    limit: Limit = 100,
) -> Response:
    """The newest jobs of the project; their results hold no texts."""
    return answers.document(schemas.Jobs(results=await calls.jobs(status, limit)))


@router.get("/{job_id}", summary="Read a job", response_model=schemas.JobState)
async def get(calls: Calls, job_id: JobId, wait: Wait) -> Response:
    """A job as it is now; with `Prefer: wait=10` as it is when it ends, or after that time.

    The answer is 200 whatever became of the job: `status` and `error` tell it.
    """
    job, info = await calls.job(job_id)
    result = await calls.wait(job, wait) if wait or info.status.is_final else None
    if wait and not info.status.is_final:  # it may have begun, or ended, meanwhile
        _, info = await calls.job(job_id)
    state = info.model_dump() if result is None else {**info.model_dump(), "results": result.results}
    return answers.document(schemas.JobState.model_validate(state))


@router.post(
    "/{job_id}/cancel",
    summary="Cancel a job",
    response_model=schemas.Cancellation,
    responses={409: {"model": schemas.ProblemDetails, "description": "The job runs, and did not answer in time."}},
)
async def cancel(calls: Calls, job_id: JobId, wait: Wait) -> Response:
    """Cancels a job; `Prefer: wait=10` waits longer for the answer of one that runs."""
    cancelled = await calls.cancel(job_id, wait or _CANCEL_SECONDS)
    return answers.document(schemas.Cancellation(job_id=job_id, cancelled=cancelled))


@router.get("/{job_id}/progress", summary="Read a job's progress", response_model=Progress)
async def progress(calls: Calls, job_id: JobId) -> Response:
    """How many of a job's items are done; of a re-embedding also its phase, its rate and the time that is left."""
    return answers.document(await calls.progress(job_id))


@router.get("/{job_id}/results", summary="Read a job's results", response_model=Results)
async def results(
    calls: Calls,
    job_id: JobId,
    cursor: Annotated[str | None, Query(description="The `next_cursor` of the page before.")] = None,
) -> Response:
    """The effect of each item, in their order, in pages of up to some thousand; for batches too large for one answer.

    While the job runs, items that are not done yet are missing.
    """
    if cursor is not None and not (cursor.isascii() and cursor.isdecimal() and len(cursor) <= _LONGEST_CURSOR):
        raise ValidationError("cursor is of no page of results", suggestion="give the next_cursor of the page before")
    page = int(cursor or 0)
    found, pages = await calls.results(job_id, page)
    return answers.document(Results(results=found, next_cursor=str(page + 1) if page + 1 < pages else None))


@router.get(
    "/{job_id}/events",
    summary="Follow a job",
    response_class=_Events,
    responses={
        200: {
            "description": "Events `progress`, and `ended` at the end; the data is that of `…/progress`.",
            "content": {
                "text/event-stream": {
                    "schema": streams.EVENT_SCHEMA,
                    "example": {
                        "event": "progress",
                        "data": '{"done":3,"total":10,"status":"running"}',
                        "id": "running.3",
                    },
                }
            },
        },
        204: {"description": "The job has ended, and the client knows it."},
    },
)
async def events(
    request: Request,
    calls: Calls,
    job_id: JobId,
    last_event_id: Annotated[
        str | None, Header(max_length=200, description="The id of the last event that the client has.")
    ] = None,
) -> Response:
    """Server-sent events with a job's progress, until it ends; a comment every 15 s keeps the connection alive.

    The stream also ends within 15 s of its key: then the client is refused when it comes back.
    """

    async def may_go_on() -> bool:
        authorization = header_values(request.scope, b"authorization")
        return not calls.caller.key_id or await gateway_of(request).authenticator.still_opens(authorization)

    state = await calls.progress(job_id)
    if state.status.is_final and last_event_id == streams.event_id(state):
        return Response(status_code=204)
    following = calls.following(job_id, closely=True)
    return _Events(streams.events(following, last_event_id, may_go_on), headers={"x-accel-buffering": "no"})
