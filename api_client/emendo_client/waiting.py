"""How `wait` looks for a job's end, and what it says then; shared by Job and AsyncJob."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from emendo_client.errors import JobFailedError, JobTimeoutError
from emendo_client.models import ItemResult, JobInfo, JobResult, JobStatus

# A pub/sub message can be lost with its connection; the record is looked at again this often (seconds).
RECHECK = 5.0
# Who has no connection to listen on looks at the record instead, less and less often (seconds).
_FIRST_LOOK, _LAST_LOOK, _GROWTH = 0.05, 1.0, 1.5


def pauses(deadline: float, *, listens: bool) -> Iterator[float]:
    """How long to wait before each next look at the record, in seconds, until the deadline on the monotonic clock.

    Args:
        listens: True for who is told of the job's end, and looks only in case that was not heard.
    """
    pause = RECHECK if listens else _FIRST_LOOK
    while (left := deadline - time.monotonic()) > 0:
        yield min(left, pause)
        if not listens:
            pause = min(_LAST_LOOK, pause * _GROWTH)


def finished(info: JobInfo, items: list[ItemResult], *, raise_on_failure: bool) -> JobResult:
    """The result of a job in a final state.

    Raises:
        JobFailedError: it failed or was cancelled, and the caller asked to be told so.
    """
    result = JobResult.model_validate({**info.model_dump(exclude={"results"}), "results": items})
    if raise_on_failure and info.status in (JobStatus.FAILED, JobStatus.CANCELLED):
        raise JobFailedError(
            _how_it_ended(info, items),
            details={"job_id": info.job_id, "result": result.model_dump(mode="json")},
            suggestion="details['result'] says why; client.replay(job_id) tries again",
        )
    return result


def timed_out(info: JobInfo, timeout: float) -> JobTimeoutError:
    """The error for a wait that ended before the job did."""
    last = f"; its last error: {in_words(info.error)}" if info.error else ""
    return JobTimeoutError(
        f"the job {info.job_id} is still {info.status} after {timeout:g} s{last}",
        details={"job_id": info.job_id, "status": info.status},
        suggestion="the job goes on: wait again, or look at emendo doctor if it stays queued",
    )


def in_words(error: dict[str, Any]) -> str:
    """An error of a job's record: what happened, without any memory text, as no error's message has any."""
    return f"{error['code']}, {error['message']}"


def _how_it_ended(info: JobInfo, items: list[ItemResult]) -> str:
    if info.status is JobStatus.CANCELLED:  # an error in its record is of an attempt before
        return "the job was cancelled"
    first = info.error or next((item.error for item in items if item.error), None)
    return f"the job failed: {in_words(first)}" if first else "the job failed"
