"""Exchanges about accepted jobs: one job, the list of jobs, and cancel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from emendo_client.errors import JobError, JobNotFoundError
from emendo_client.exchanges.exchange import Exchange, RoundTrip
from emendo_client.models import JobInfo, JobStatus
from emendo_client.records.jobs import JOB_FIELDS, job_document, job_info, require_record, stored_chunks
from emendo_config import Keys, Settings, project_limits
from emendo_config.error_codes import ErrorCode
from emendo_config.store import scripts
from emendo_config.store.format_versions import FORMAT, too_old
from emendo_config.store.formats import chunk_id, delayed_member, job_of
from emendo_config.store.pipeline import Command, as_text

_JOBS_AT_A_TIME = 200


def get(keys: Keys, project: str, job_id: str) -> Exchange[JobInfo]:
    """One job.

    Raises:
        JobNotFoundError: the project has no such job.
    """
    document = yield from get_document(keys, project, job_id)
    return job_info(document)


def get_document(keys: Keys, project: str, job_id: str) -> Exchange[dict[str, Any]]:
    """One job's record as the document of `job_document`.

    Raises:
        JobNotFoundError: the project has no such job.
    """
    (values,) = yield RoundTrip("control", [("HMGET", keys.job(job_id), *JOB_FIELDS)])
    document = job_document(values)
    if document is None or document["project"] != project:
        raise no_job(job_id)
    return {**document, "job_id": job_id}  # the key decides


def find(keys: Keys, project: str, status: JobStatus | None, limit: int) -> Exchange[list[JobInfo]]:
    """The project's newest jobs, newest first."""
    found: list[JobInfo] = []
    seen: set[Any] = set()
    start = 0
    while len(found) < limit:
        (ids,) = yield RoundTrip("control", [("ZREVRANGE", keys.jobs(project), start, start + _JOBS_AT_A_TIME - 1)])
        if not ids:
            break
        start += len(ids)
        fresh = [job_id for job_id in ids if job_id not in seen]  # a submission between two pages moves the others down
        seen.update(fresh)
        replies = yield RoundTrip("control", _record_reads(keys, fresh))
        found += (info for info in _infos(replies, project) if status is None or info.status == status)
    return found[:limit]


def cancel(settings: Settings, keys: Keys, project: str, job_id: str) -> Exchange[JobStatus]:
    """Requests the cancellation of a job; its status afterwards. A job that is `running` may still stop.

    Raises:
        JobError: (CHUNK) the id is a chunk's; a job that lost a chunk this way would never end.
        JobNotFoundError: the project has no such job.
        ConfigurationError: (RELEASE_TOO_OLD) a newer release wrote the job's record; nothing was changed.
    """
    if (whole := job_of(job_id)) != job_id:
        raise JobError(
            "a chunk of a batch job cannot be cancelled by itself",
            error_code=ErrorCode.CHUNK,
            details={"job_id": whole},
            suggestion=f"cancel the whole job, {whole}; a chunk that is a dead letter can be discarded",
        )
    (reply,) = yield RoundTrip(
        "control",
        [
            scripts.cancel(
                job=keys.job(job_id),
                delayed=keys.delayed,
                cancelling=keys.cancelling,
                channel=keys.job_channel(job_id),
                job_id=job_id,
                project=project,
                ttl=settings.job_ttl,
                windows=project_limits.windows(keys, settings),
            )
        ],
    )
    status = _status(scripts.cancel.reply(reply), job_id)
    if status is JobStatus.RUNNING:
        # Parts that wait for another attempt become due now, so that they learn of the cancellation at once.
        shards = yield from shards_of(keys, project, job_id)
        members = [delayed_member(shard, record) for record, shard in shards.items()]
        if members:
            yield RoundTrip("control", [scripts.hurry(delayed=keys.delayed, members=members)])
    return status


def shards_of(keys: Keys, project: str, job_id: str) -> Exchange[dict[str, str]]:
    """The records that hold a job's work, with their shards: its own record, its chunks, or (re-embedding) both."""
    (found,) = yield RoundTrip("control", [("HMGET", keys.job(job_id), "shard", "chunks", "project", FORMAT)])
    shard, chunks, owner, stated = map(as_text, found)
    if owner != project:
        raise no_job(job_id)
    require_record(stated)
    own = {job_id: shard} if shard else {}
    ids = [chunk_id(job_id, number) for number in range(stored_chunks(chunks))]
    if not ids:
        return own
    replies = yield RoundTrip("control", [("HGET", keys.job(each), "shard") for each in ids])
    found = {each: as_text(reply) for each, reply in zip(ids, replies, strict=True) if reply is not None}
    return own | found


def no_job(job_id: str) -> JobNotFoundError:
    """The error for a job id that the project does not have."""
    return JobNotFoundError(
        "no such job in this project",
        details={"job_id": job_id},
        suggestion="it was never accepted, or its record expired after EMENDO_JOB_TTL seconds",
    )


def _record_reads(keys: Keys, ids: list[Any]) -> list[Command]:
    return [("HMGET", keys.job(as_text(job_id)), *JOB_FIELDS) for job_id in ids]


def _infos(replies: list[Any], project: str) -> Iterator[JobInfo]:
    for values in replies:
        document = job_document(values)
        if document is not None and document["project"] == project:
            yield job_info(document)


def _status(word: str, job_id: str) -> JobStatus:
    if word == "unknown":
        raise no_job(job_id)
    if word == scripts.NEWER:
        raise too_old("the job's record has a format that this release does not read")
    return JobStatus(word)
