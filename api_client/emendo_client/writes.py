"""The control-plane writes, each one conversation (see `steps`): accept, cancel, replay, discard."""

from __future__ import annotations

import uuid
from typing import Any

from emendo_client.errors import ConflictError, JobError
from emendo_client.models import JobStatus
from emendo_client.reads import no_job
from emendo_client.requests import JobRequest
from emendo_client.steps import Batch, Steps, script
from emendo_config import Keys, Settings
from emendo_config.redis_io import as_text


def accept(settings: Settings, keys: Keys, request: JobRequest) -> Steps[tuple[str, int | None]]:
    """Accepts the job: its id, and the shard whose bell the caller must ring (None: it is rung already).

    Raises:
        ConflictError: the idempotency key was used for another request.
    """
    names, values = request.accept_call(settings, keys)
    (reply,) = yield Batch("control", [script("accept", names, values)])
    outcome, job_id = as_text(reply[0]), as_text(reply[1])
    if outcome == "conflict":
        raise ConflictError(
            "this idempotency key was used for another request",
            error_code="IDEMPOTENCY_KEY_REUSED",
            details={"job_id": job_id},
            suggestion="use a new key for a new request",
        )
    return job_id, int(values[1]) if reply[2] else None


def cancel(settings: Settings, keys: Keys, project: str, job_id: str) -> Steps[JobStatus]:
    """Asks for the job to be cancelled; the status after that. `running` means: it may still stop."""
    (reply,) = yield Batch(
        "control",
        [
            script(
                "cancel",
                [keys.job(job_id), keys.delayed, keys.cancelling, keys.job_channel(job_id)],
                [job_id, project, settings.job_ttl],
            )
        ],
    )
    return _status(reply, job_id)


def replay(settings: Settings, keys: Keys, project: str, job_id: str) -> Steps[int | None]:
    """Puts a dead letter back to work; the shard to ring, if any.

    Raises:
        JobNotFoundError: no such job. JobError: it is not dead-lettered.
    """
    (found,) = yield Batch("control", [("HMGET", keys.job(job_id), "shard")])
    shard = as_text(found[0])
    if not shard:
        raise no_job(job_id)
    (reply,) = yield Batch(
        "control",
        [
            script(
                "replay",
                [keys.job(job_id), keys.dead, keys.inbox(int(shard)), keys.bell(int(shard)), keys.shards],
                [job_id, project, uuid.uuid4().hex, int(settings.ring_ttl * 1000), shard],
            )
        ],
    )
    if as_text(reply[0]) != "replayed":
        raise _not_dead(_status(reply[0], job_id), job_id)
    return int(shard) if reply[1] else None


def discard(settings: Settings, keys: Keys, project: str, job_id: str) -> Steps[None]:
    """Gives a dead letter up.

    Raises:
        JobNotFoundError: no such job. JobError: it is not dead-lettered.
    """
    (reply,) = yield Batch(
        "control", [script("discard", [keys.job(job_id), keys.dead], [job_id, project, settings.job_ttl])]
    )
    if as_text(reply) != "discarded":
        raise _not_dead(_status(reply, job_id), job_id)


def _status(reply: Any, job_id: str) -> JobStatus:
    word = as_text(reply)
    if word == "unknown":
        raise no_job(job_id)
    return JobStatus(word)


def _not_dead(status: JobStatus, job_id: str) -> JobError:
    return JobError(
        f"the job is not a dead letter; it is {status}",
        error_code="JOB_NOT_DEAD",
        details={"job_id": job_id, "status": status},
    )
