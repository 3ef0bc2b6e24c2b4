"""The control-plane writes, each one conversation (see `steps`): accept, append, cancel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from emendo_client.batches import ABANDONED, Append, BatchRequest
from emendo_client.errors import ConflictError, JobError
from emendo_client.models import JobStatus
from emendo_client.reads import no_job, shards_of
from emendo_client.records import job_of
from emendo_client.requests import JobRequest
from emendo_client.steps import Batch, Steps, script
from emendo_config import Keys, Settings
from emendo_config.redis_io import as_text


def accept(settings: Settings, keys: Keys, request: JobRequest) -> Steps[tuple[str, list[str]]]:
    """Accepts the job: its id, and the shard whose bell the caller must ring, unless it is rung already.

    Raises:
        ConflictError: the idempotency key was used for another request, or another migration is under way.
    """
    names, values = request.accept_call(settings, keys)
    (reply,) = yield Batch("control", [script("accept", names, values)])
    outcome, job_id = as_text(reply[0]), as_text(reply[1])
    if outcome == "conflict":
        raise _key_reused(job_id)
    if outcome == "held":
        raise _migration_under_way(job_id)
    return job_id, [str(values[1])] if reply[2] else []


def cancel(settings: Settings, keys: Keys, project: str, job_id: str) -> Steps[JobStatus]:
    """Asks for the job to be cancelled; the status after that. `running` means: it may still stop.

    Raises:
        JobError: the id is a chunk's: its job, which counts its chunks, would never end.
        JobNotFoundError: the project has no such job.
    """
    if (whole := job_of(job_id)) != job_id:
        raise JobError(
            "a chunk of a batch job cannot be cancelled by itself",
            error_code="CHUNK",
            details={"job_id": whole},
            suggestion=f"cancel the job, {whole}; a chunk that is a dead letter can be discarded",
        )
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
    status = _status(reply, job_id)
    if status is JobStatus.RUNNING:
        # What of it waits for a next attempt is told now, not when that would have come.
        shards = yield from shards_of(keys, project, job_id)
        members = [part for record, shard in shards.items() for part in (0, f"{shard}:{record}")]
        if members:
            yield Batch("control", [("ZADD", keys.delayed, "XX", "LT", *members)])
    return status


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of one `Append`.

    Attributes:
        rings: shards whose bells the caller must ring.
        resume: what to go on with, when the caller of the same request broke off before.
        is_over: True when there is nothing left to send.
    """

    job_id: str
    rings: list[str]
    resume: BatchRequest | None = None
    is_over: bool = False


def append(settings: Settings, keys: Keys, request: BatchRequest, part: Append) -> Steps[Appended]:
    """Accepts some chunks of a batch job.

    Raises:
        ConflictError: the idempotency key was used for another request.
        JobError: no items came for so long that the job, or the first one under this key, was closed without the rest;
            for the job itself the details say how many of its items were `accepted`, the first ones.
    """
    names, values = request.call(settings, keys, part)
    (reply,) = yield Batch("control", [script("append", names, values)])
    outcome, job_id, *rings = map(as_text, reply)
    if outcome == "conflict":
        raise _key_reused(job_id)
    if outcome == "ended":
        raise _abandoned(job_id, accepted=part.chunks[0].first)
    if outcome in ("resume", "duplicate"):
        (found,) = yield Batch("control", [("HMGET", keys.job(job_id), "sealed", "chunk_items")])
        sealed, chunk_items = map(as_text, found)
        if sealed == ABANDONED:
            raise _abandoned(job_id)
        if outcome == "resume":
            return Appended(job_id, [], resume=request.resumed(job_id, int(chunk_items)))
    return Appended(job_id, rings, is_over=outcome == "duplicate" or bool(part.seal))


def _key_reused(job_id: str) -> ConflictError:
    return ConflictError(
        "this idempotency key was used for another request",
        error_code="IDEMPOTENCY_KEY_REUSED",
        details={"job_id": job_id},
        suggestion="use a new key for a new request",
    )


def _migration_under_way(job_id: str) -> ConflictError:
    return ConflictError(
        "another re-embedding is under way",
        error_code="MIGRATION_UNDER_WAY",
        details={"job_id": job_id},
        suggestion="migration() shows how far it is; wait for it, cancel it, or end it with finalize_reembed() "
        "or rollback_reembed()",
    )


def _abandoned(job_id: str, **details: int) -> JobError:
    return JobError(
        "the batch job was closed, since no further items came for a long time",
        error_code="BATCH_ABANDONED",
        details={"job_id": job_id, **details},
        suggestion="what was accepted is carried out; send the rest as a new batch, or raise EMENDO_BATCH_IDLE",
    )


def _status(reply: Any, job_id: str) -> JobStatus:
    word = as_text(reply)
    if word == "unknown":
        raise no_job(job_id)
    return JobStatus(word)
