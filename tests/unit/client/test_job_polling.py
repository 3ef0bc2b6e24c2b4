"""`wait` for a job that failed, and for one that is not done in time."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from emendo_client.errors import JobFailedError
from emendo_client.models import ItemResult, JobInfo, JobStatus
from emendo_client.transport.job_polling import finished, timed_out

MISSING = {"type": "MemoryNotFoundError", "code": "MEMORY_NOT_FOUND", "message": "no such memory in this project"}
FAILING = {"type": "NetworkError", "code": "PROVIDER_FAILING", "message": "the provider answered 500"}


def record(status: JobStatus, error: dict | None = None) -> JobInfo:
    return JobInfo(job_id="j1", kind="update", status=status, error=error, submitted_at=datetime.now(UTC))


def refusal(info: JobInfo, *errors: dict | None) -> JobFailedError:
    items = [ItemResult(memory_id="m", error=error) for error in errors]
    with pytest.raises(JobFailedError) as failure:
        finished(info, items, raise_on_failure=True)
    return failure.value


@pytest.mark.parametrize("info", [record(JobStatus.FAILED, MISSING), record(JobStatus.FAILED)])
def test_a_failure_says_what_happened_first(info):
    error = refusal(info, None, MISSING, FAILING)
    assert error.message == "the job failed: MEMORY_NOT_FOUND, no such memory in this project"
    assert error.details["job_id"] == "j1"
    assert [item["error"] for item in error.details["result"]["results"]] == [None, MISSING, FAILING]


def test_a_failure_of_which_nothing_is_recorded_is_one_all_the_same():
    assert refusal(record(JobStatus.FAILED)).message == "the job failed"


def test_a_cancelled_job_did_not_end_by_the_error_of_an_attempt_before():
    assert refusal(record(JobStatus.CANCELLED, FAILING)).message == "the job was cancelled"


def test_a_wait_that_was_too_short_names_the_job_and_its_last_error():
    error = timed_out(record(JobStatus.RETRYING, FAILING), 5)
    assert error.message == (
        "the job j1 is still retrying after 5 s; its last error: PROVIDER_FAILING, the provider answered 500"
    )
    assert error.details == {"job_id": "j1", "status": "retrying"}
    assert "remove the cause" in error.suggestion
    assert "remove the cause" in timed_out(record(JobStatus.RUNNING, FAILING), 5).suggestion
    queued = timed_out(record(JobStatus.QUEUED), 0.3)
    assert queued.message == "the job j1 is still queued after 0.3 s"
    assert "no worker has begun it" in queued.suggestion
    assert "a worker is at it" in timed_out(record(JobStatus.RUNNING), 0.3).suggestion
