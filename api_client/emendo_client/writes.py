"""The control-plane writes, each one conversation (see `steps`): accept, append, cancel, replay, discard."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from emendo_client.batches import ABANDONED, Append, BatchRequest
from emendo_client.errors import ConflictError, JobError
from emendo_client.models import JobStatus
from emendo_client.reads import no_job
from emendo_client.records import job_of
from emendo_client.requests import JobRequest
from emendo_client.steps import Batch, Steps, script
from emendo_config import Keys, Settings
from emendo_config.redis_io import as_text


def accept(settings: Settings, keys: Keys, request: JobRequest) -> Steps[tuple[str, list[str]]]:
    """Accepts the job: its id, and the shard whose bell the caller must ring, unless it is rung already.

    Raises:
        ConflictError: the idempotency key was used for another request.
    """
    names, values = request.accept_call(settings, keys)
    (reply,) = yield Batch("control", [script("accept", names, values)])
    outcome, job_id = as_text(reply[0]), as_text(reply[1])
    if outcome == "conflict":
        raise _key_reused(job_id)
    return job_id, [str(values[1])] if reply[2] else []


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
    status = _status(reply, job_id)
    if status is JobStatus.RUNNING:
        # What of it waits for a next attempt is told now, not when that would have come.
        shards = yield from _shards_of(keys, project, job_id)
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
        JobError: no items came for so long that the job, or the first one under this key, was closed without the rest.
    """
    names, values = request.call(settings, keys, part)
    (reply,) = yield Batch("control", [script("append", names, values)])
    outcome, job_id, *rings = map(as_text, reply)
    if outcome == "conflict":
        raise _key_reused(job_id)
    if outcome == "ended":
        raise _abandoned(job_id)
    if outcome in ("resume", "duplicate"):
        (found,) = yield Batch("control", [("HMGET", keys.job(job_id), "sealed", "chunk_items")])
        sealed, chunk_items = map(as_text, found)
        if sealed == ABANDONED:
            raise _abandoned(job_id)
        if outcome == "resume":
            return Appended(job_id, [], resume=request.resumed(job_id, int(chunk_items)))
    return Appended(job_id, rings, is_over=outcome == "duplicate" or bool(part.seal))


def replay(settings: Settings, keys: Keys, project: str, job_id: str) -> Steps[list[str]]:
    """Puts a dead letter back to work, of a batch job all its dead chunks; the shards to ring.

    Raises:
        JobNotFoundError: no such job. JobError: it is not dead-lettered.
    """
    shards = yield from _shards_of(keys, project, job_id)
    replies = yield Batch(
        "control",
        [
            script(
                "replay",
                [
                    keys.job(record_id),
                    keys.job(job_of(record_id)),
                    keys.dead,
                    keys.inbox(shard),
                    keys.bell(shard),
                    keys.shards,
                ],
                [record_id, project, uuid.uuid4().hex, int(settings.ring_ttl * 1000), shard],
            )
            for record_id, shard in shards.items()
        ],
    )
    words = [as_text(word) for word, _ in replies]
    _require_one(words, JobStatus.QUEUED.value, job_id)
    return [shard for shard, (_, rings) in zip(shards.values(), replies, strict=True) if rings]


def discard(settings: Settings, keys: Keys, project: str, job_id: str) -> Steps[None]:
    """Gives a dead letter up, of a batch job all its dead chunks.

    Raises:
        JobNotFoundError: no such job. JobError: it is not dead-lettered.
    """
    shards = yield from _shards_of(keys, project, job_id)
    replies = yield Batch(
        "control",
        [
            script(
                "discard",
                [keys.job(record_id), keys.job(job_of(record_id)), keys.dead],
                [record_id, project, settings.job_ttl],
            )
            for record_id in shards
        ],
    )
    _require_one([as_text(word) for word in replies], "discarded", job_id)


def _shards_of(keys: Keys, project: str, job_id: str) -> Steps[dict[str, str]]:
    """The job's record, or the records of its chunks, and their shards."""
    (found,) = yield Batch("control", [("HMGET", keys.job(job_id), "shard", "chunks", "project")])
    shard, chunks, owner = map(as_text, found)
    if owner != project:
        raise no_job(job_id)
    if not chunks:
        return {job_id: shard}
    records = [f"{job_id}:{number}" for number in range(int(chunks))]
    replies = yield Batch("control", [("HGET", keys.job(record), "shard") for record in records])
    return {record: as_text(reply) for record, reply in zip(records, replies, strict=True) if reply is not None}


def _require_one(words: list[str], wanted: str, job_id: str) -> None:
    if wanted in words:
        return
    if not words or "unknown" in words:
        raise no_job(job_id)
    raise JobError(
        f"the job is not a dead letter; it is {words[0]}",
        error_code="JOB_NOT_DEAD",
        details={"job_id": job_id, "status": words[0]},
    )


def _key_reused(job_id: str) -> ConflictError:
    return ConflictError(
        "this idempotency key was used for another request",
        error_code="IDEMPOTENCY_KEY_REUSED",
        details={"job_id": job_id},
        suggestion="use a new key for a new request",
    )


def _abandoned(job_id: str) -> JobError:
    return JobError(
        "the batch job was closed, since no further items came for a long time",
        error_code="BATCH_ABANDONED",
        details={"job_id": job_id},
        suggestion="what was accepted is carried out; send the rest as a new batch, or raise EMENDO_BATCH_IDLE",
    )


def _status(reply: Any, job_id: str) -> JobStatus:
    word = as_text(reply)
    if word == "unknown":
        raise no_job(job_id)
    return JobStatus(word)
