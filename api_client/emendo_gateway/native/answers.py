"""How the native surface answers: jobs that were accepted, jobs that were waited for, and documents."""

from __future__ import annotations

from typing import Any

from fastapi import Response
from pydantic import BaseModel

from emendo_client._async.job import AsyncJob
from emendo_client.errors import ConflictError
from emendo_client.models import JobResult, JobStatus
from emendo_config.error_codes import ErrorCode
from emendo_gateway.native.schemas import AcceptedJob, FinishedJob, ProblemDetails
from emendo_gateway.problems.refusals import error_of, refusal
from emendo_gateway.service import Service

JOBS = "/api/v1/jobs/"
_JSON = "application/json"
# The documented answers of a route whose request becomes a job.
_LOCATION = {"Location": {"description": "Where the job's state is.", "schema": {"type": "string"}}}
JOB_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"model": FinishedJob, "description": "The job has ended (with `Prefer: wait`).", "headers": _LOCATION},
    202: {"model": AcceptedJob, "description": "The job is accepted.", "headers": _LOCATION},
    409: {
        "model": ProblemDetails,
        "description": "The job of this idempotency key is still running, or it was cancelled.",
    },
    412: {"model": ProblemDetails, "description": "The memory does not have the version of `If-Match`."},
    422: {"model": ProblemDetails, "description": "The idempotency key was used for another request."},
}

# A route whose request becomes a job, and one whose request has no version and no idempotency key.
JOB: dict[str, Any] = {"status_code": 202, "response_model": AcceptedJob, "responses": JOB_ANSWERS}
JOB_ALONE: dict[str, Any] = {**JOB, "responses": {status: JOB_ANSWERS[status] for status in (200, 202, 409)}}


def document(model: BaseModel, status: int = 200, **headers: str) -> Response:
    """A document as JSON. Field names of `headers` have `_` in place of `-`."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(model.model_dump_json(), status_code=status, media_type=_JSON, headers=fields)


async def of_job(service: Service, job: AsyncJob, seconds: float) -> Response:
    """The answer to a request that became a job: 202, or its result when it ends within the seconds.

    Raises:
        Refusal: the job failed, or it was begun by an earlier request and is still running.
    """
    url = f"{JOBS}{job.id}"
    result = await service.wait(job, seconds) if seconds or job.is_repeat else None
    if result is not None:
        return finished(result, url, has_waited=seconds > 0)
    if job.is_repeat:
        running = ConflictError(
            "the job that this idempotency key began is still running",
            error_code=ErrorCode.STILL_RUNNING,
            details={"job_id": job.id},
            suggestion="follow that job, or send the request again later",
        )
        raise refusal(running, headers=((b"location", url.encode()),))
    return document(AcceptedJob(job_id=job.id, status=JobStatus.QUEUED.value, url=url), 202, location=url)


async def of_maybe(service: Service, job: AsyncJob | None, seconds: float) -> Response:
    """The answer to a request that found something to do, or nothing: then it is 204."""
    return Response(status_code=204) if job is None else await of_job(service, job, seconds)


def finished(result: JobResult, url: str, *, has_waited: bool) -> Response:
    """The answer that tells a job's result.

    Raises:
        Refusal: the job failed or was cancelled; a success in part is told as it is.
    """
    if result.status in (JobStatus.FAILED, JobStatus.CANCELLED):
        raise refusal(error_of(result), headers=((b"location", url.encode()),), job_id=result.job_id)
    body = FinishedJob.model_validate(result.model_dump())
    applied = {"preference_applied": "wait"} if has_waited else {}
    return document(body, 200, location=url, **applied)
