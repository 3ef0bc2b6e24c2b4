"""Dead letters: jobs that failed for good. They hold texts of all users, so each call needs the scope `admin`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from emendo_client.models import DeadLetter
from emendo_gateway.gateway import gateway_of, service_of
from emendo_gateway.native import answers, schemas
from emendo_gateway.native.parameters import Limit, Wait
from emendo_gateway.service import Service

router = APIRouter(prefix="/dead-letters", tags=["dead letters"])
Calls = Annotated[Service, Depends(service_of)]
JobId = Annotated[str, Path(description="The id of a job, or of a chunk of a batch: `<job id>:<n>`.")]
_NOT_DEAD: dict[int | str, dict[str, Any]] = {
    409: {"model": schemas.ProblemDetails, "description": "The job is no dead letter."}
}
# The share of a request's time that a run over many may take.
_SHARE = 0.5


class DeadLetters(BaseModel):
    """Dead letters, newest first."""

    results: list[DeadLetter]


class Matching(schemas.Body):
    """Which dead letters; all of them without a condition."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"error_code": "NETWORK"}]})

    kind: str | None = Field(None, description="Of the job, such as `update`.")
    error_code: str | None = Field(None, description="Of the job's first error.")
    memory_id: str | None = Field(None, description="A memory that the job was to change.")
    before: str | None = Field(None, description="The job failed before that; ISO-8601 with a time zone.")
    after: str | None = Field(None, description="The job failed then or later.")


class Handled(BaseModel):
    """How many; `complete` is false when the request's time was over first: send it again for the others."""

    count: int
    complete: bool


@router.get("", summary="List dead letters", response_model=DeadLetters)
async def find(
    calls: Calls,
    *,
    kind: str | None = None,
    error_code: str | None = None,
    memory_id: str | None = None,
    before: str | None = None,
    after: str | None = None,
    limit: Limit = 100,
) -> Response:
    """Jobs that failed for good, with their requests."""
    found = await calls.dead_letters(
        limit, kind=kind, error_code=error_code, memory_id=memory_id, before=before, after=after
    )
    return answers.document(DeadLetters(results=found))


@router.post("/replay", summary="Replay many dead letters", response_model=Handled)
async def replay_all(request: Request, calls: Calls, body: Matching) -> Response:
    """Puts those that match back to work, oldest first."""
    seconds = gateway_of(request).own.request_timeout * _SHARE
    count, complete = await calls.replay_all(seconds, **dict(body))
    return answers.document(Handled(count=count, complete=complete))


@router.post("/discard", summary="Discard many dead letters", response_model=Handled)
async def discard_all(request: Request, calls: Calls, body: Matching) -> Response:
    """Gives those that match up, and drops their requests."""
    seconds = gateway_of(request).own.request_timeout * _SHARE
    count, complete = await calls.discard_all(seconds, **dict(body))
    return answers.document(Handled(count=count, complete=complete))


@router.get("/{job_id}", summary="Read a dead letter", response_model=DeadLetter, responses=_NOT_DEAD)
async def get(calls: Calls, job_id: JobId) -> Response:
    """One dead letter, with its request."""
    return answers.document(await calls.dead_letter(job_id))


@router.post(
    "/{job_id}/replay",
    summary="Replay a dead letter",
    status_code=202,
    response_model=schemas.AcceptedJob,
    responses={**answers.JOB_ANSWERS, **_NOT_DEAD},
)
async def replay(calls: Calls, job_id: JobId, *, wait: Wait) -> Response:
    """Puts it back to work under its own id; what it has already done is not repeated."""
    return await answers.of_job(calls, await calls.replay(job_id), wait)


@router.delete("/{job_id}", summary="Discard a dead letter", status_code=204, responses=_NOT_DEAD)
async def discard(calls: Calls, job_id: JobId) -> Response:
    """Gives it up, and drops its request."""
    await calls.discard(job_id)
    return Response(status_code=204)
