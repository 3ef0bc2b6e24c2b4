"""What `wait` says when it ends, shared by Job and AsyncJob."""

from __future__ import annotations

from emendo_client.errors import JobFailedError, JobTimeoutError
from emendo_client.models import ItemResult, JobInfo, JobResult, JobStatus

# A pub/sub message can be lost with its connection; the record is looked at again this often (seconds).
RECHECK = 5.0


def finished(info: JobInfo, items: list[ItemResult], *, raise_on_failure: bool) -> JobResult:
    """The result of a job in a final state.

    Raises:
        JobFailedError: it failed or was cancelled, and the caller asked to be told so.
    """
    result = JobResult.model_validate({**info.model_dump(exclude={"results"}), "results": items})
    if raise_on_failure and info.status in (JobStatus.FAILED, JobStatus.CANCELLED):
        raise JobFailedError(
            f"the job {info.status}",
            details={"job_id": info.job_id, "result": result.model_dump(mode="json")},
            suggestion="details['result'] says why; client.replay(job_id) tries again",
        )
    return result


def timed_out(job_id: str, timeout: float, status: JobStatus) -> JobTimeoutError:
    """The error for a wait that ended before the job did."""
    return JobTimeoutError(
        f"the job is still {status} after {timeout:g} s",
        details={"job_id": job_id, "status": status},
        suggestion="the job goes on: wait again, or look at emendo doctor if it stays queued",
    )
