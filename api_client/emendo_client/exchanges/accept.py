"""Accepting work: one job in one script call, and a batch job chunk by chunk."""

from __future__ import annotations

from dataclasses import dataclass

from emendo_client.errors import ConflictError, JobError, QuotaExceededError
from emendo_client.exchanges.exchange import Exchange, RoundTrip
from emendo_client.exchanges.redis_errors import out_of_memory
from emendo_client.requests import validation
from emendo_client.requests.batches import ABANDONED, Append, BatchRequest
from emendo_client.requests.jobs import JobRequest
from emendo_config import Keys, Settings
from emendo_config.error_codes import ErrorCode
from emendo_config.store import scripts
from emendo_config.store.pipeline import as_text


def accept(settings: Settings, keys: Keys, request: JobRequest) -> Exchange[tuple[str, list[str]]]:
    """Accepts the job; its id, and the shard to notify, if no wake-up for it is under way.

    Raises:
        ConflictError: the idempotency key was used for another request, or another migration is under way.
        QuotaExceededError: EMENDO_PROJECT_MAX_WAITING jobs of the project are open; nothing was accepted.
        VectorStoreError: (OUT_OF_MEMORY) Redis is full, or nearly.
        ValidationError: `expires_at` is past, by the clock of Redis.
    """
    shard = request.shard_in(settings)
    (reply,) = yield RoundTrip("control", [request.accept_command(settings, keys, shard)])
    outcome, job_id, must_notify = scripts.accept.reply(reply)
    if outcome == "conflict":
        raise _key_reused(job_id)
    if outcome == "held":
        raise _migration_under_way(job_id)
    if outcome == "refused":
        raise _beyond_quota(settings, request.project, int(job_id))
    if outcome == "full":
        raise out_of_memory("a Redis has reached EMENDO_MEMORY_WATERMARK and accepts nothing but erasures")
    if outcome == "expired":
        raise validation.past_expiry()
    return job_id, [shard] if must_notify else []


@dataclass(frozen=True, slots=True)
class Appended:
    """The result of one `Append`.

    Attributes:
        shards: shards to notify.
        resume: the rest of the request, if an earlier call with the same key broke off.
        is_over: True when there is nothing left to send.
    """

    job_id: str
    shards: list[str]
    resume: BatchRequest | None = None
    is_over: bool = False


def append(settings: Settings, keys: Keys, request: BatchRequest, part: Append) -> Exchange[Appended]:
    """Accepts some chunks of a batch job.

    Raises:
        ConflictError: the idempotency key was used for another request.
        QuotaExceededError: with these chunks more than EMENDO_PROJECT_MAX_WAITING jobs of the project would be open.
            None of these chunks was accepted.
        JobError: (BATCH_ABANDONED) the job was closed because no items came for EMENDO_BATCH_IDLE seconds. For the job
            itself, `details["accepted"]` is the number of its items that were accepted.
        VectorStoreError: (OUT_OF_MEMORY) Redis is full, or nearly; chunks accepted before stay.
    """
    (reply,) = yield RoundTrip("control", [request.append_command(settings, keys, part)])
    outcome, job_id, shards = scripts.append.reply(reply)
    if outcome == "conflict":
        raise _key_reused(job_id)
    if outcome == "refused":
        raise _beyond_quota(settings, request.project, int(job_id))
    if outcome == "ended":
        raise _abandoned(job_id, accepted=part.chunks[0].first)
    if outcome == "full":
        raise out_of_memory("a Redis has reached EMENDO_MEMORY_WATERMARK and accepts nothing but erasures")
    if outcome in ("resume", "duplicate"):
        (found,) = yield RoundTrip("control", [("HMGET", keys.job(job_id), "sealed", "chunk_items")])
        sealed, chunk_items = map(as_text, found)
        if sealed == ABANDONED:
            raise _abandoned(job_id)
        if outcome == "resume":
            return Appended(job_id, [], resume=request.resumed(job_id, int(chunk_items)))
    return Appended(job_id, shards, is_over=outcome == "duplicate" or bool(part.seal))


def job_begun_by(keys: Keys, project: str, idempotency_key: str) -> Exchange[str | None]:
    """The job that was accepted under the key; None if there is none, or the key was forgotten (`EMENDO_JOB_TTL`)."""
    validation.opaque_key(idempotency_key, "idempotency_key")
    (job_id,) = yield RoundTrip("control", [("HGET", keys.idempotency(project, idempotency_key), "job_id")])
    return as_text(job_id) or None


def _key_reused(job_id: str) -> ConflictError:
    return ConflictError(
        "this idempotency key was used for another request",
        error_code=ErrorCode.IDEMPOTENCY_KEY_REUSED,
        details={"job_id": job_id if validation.is_job_id(job_id) else ""},
        suggestion="use a new key for a new request",
    )


def _beyond_quota(settings: Settings, project: str, open_jobs: int) -> QuotaExceededError:
    return QuotaExceededError(
        "the project has as many open jobs as it may",
        details={"project": project, "open": open_jobs, "limit": settings.project_max_waiting},
        suggestion="send it again when some of the project's jobs have ended, or raise EMENDO_PROJECT_MAX_WAITING",
    )


def _migration_under_way(job_id: str) -> ConflictError:
    return ConflictError(
        "another re-embedding is under way",
        error_code=ErrorCode.MIGRATION_UNDER_WAY,
        details={"job_id": job_id if validation.is_job_id(job_id) else ""},
        suggestion="migration() shows its progress; wait for it, cancel it, or end it with finalize_reembed() or "
        "rollback_reembed()",
    )


def _abandoned(job_id: str, **details: int) -> JobError:
    return JobError(
        "the batch job was closed, because no further items came for a long time",
        error_code=ErrorCode.BATCH_ABANDONED,
        details={"job_id": job_id, **details},
        suggestion="accepted items are carried out; send the rest as a new batch, or raise EMENDO_BATCH_IDLE",
    )
