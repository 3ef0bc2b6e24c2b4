"""How `wait` looks for a job's end, and its result or error then; shared by Job and AsyncJob."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from emendo_client.errors import JobFailedError, JobTimeoutError
from emendo_client.models import ItemResult, JobInfo, JobResult, JobStatus

# A pub/sub message can be lost with its connection, so the record is read again this often (seconds).
RECHECK = 5.0
# Without a connection to listen on, the record is read at growing intervals (seconds).
_FIRST_LOOK, _LAST_LOOK, _GROWTH = 0.05, 1.0, 1.5


def pauses(deadline: float, *, listens: bool) -> Iterator[float]:
    """How long to wait before each next read of the record, in seconds.

    Args:
        deadline: on the monotonic clock; there is no pause after it.
        listens: True if a pub/sub message tells the job's end, and the record is read only in case it was lost.
    """
    pause = RECHECK if listens else _FIRST_LOOK
    while (left := deadline - time.monotonic()) > 0:
        yield min(left, pause)
        if not listens:
            pause = min(_LAST_LOOK, pause * _GROWTH)


def finished(info: JobInfo, items: list[ItemResult], *, raise_on_failure: bool) -> JobResult:
    """The result of a job in a final state.

    Raises:
        JobFailedError: it failed or was cancelled, and `raise_on_failure` is set.
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
    """The error when the timeout is over before the job."""
    last = f"; its last error: {in_words(info.error)}" if info.error else ""
    if info.error:
        suggestion = "it is tried again by itself: remove the cause that the error names, or wait longer"
    elif info.status is JobStatus.QUEUED:
        suggestion = "no worker has begun it: emendo doctor shows whether one runs; the job stays, so wait again"
    else:
        suggestion = "a worker is at it: wait longer"
    return JobTimeoutError(
        f"the job {info.job_id} is still {info.status} after {timeout:g} s{last}",
        details={"job_id": info.job_id, "status": info.status},
        suggestion=suggestion,
    )


def in_words(error: dict[str, Any]) -> str:
    """An error of a job's record: its code and message, which never hold memory text."""
    return f"{error['code']}, {error['message']}"


def _how_it_ended(info: JobInfo, items: list[ItemResult]) -> str:
    if info.status is JobStatus.CANCELLED:  # an error in its record is an earlier attempt's
        return "the job was cancelled"
    first = info.error or next((item.error for item in items if item.error), None)
    return f"the job failed: {in_words(first)}" if first else "the job failed"
