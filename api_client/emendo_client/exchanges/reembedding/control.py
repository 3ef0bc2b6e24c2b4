"""Control of a re-embedding: the jobs that begin and end it, pause and resume."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emendo_client.errors import ConflictError
from emendo_client.exchanges import dead_letters
from emendo_client.exchanges.exchange import Exchange, RoundTrip
from emendo_client.exchanges.reembedding.models import MigrationPhase
from emendo_client.models import JobStatus
from emendo_client.requests.jobs import JobRequest
from emendo_client.requests.operations import new_job_id
from emendo_config import Keys, Settings
from emendo_config.error_codes import ErrorCode
from emendo_config.json_codec import compact_json
from emendo_config.shards import MIGRATION_SHARD
from emendo_config.store import scripts
from emendo_config.store.formats import delayed_member
from emendo_config.store.pipeline import as_text

SWITCH, FINALIZE, ROLL_BACK = "switch", "finalize", "rollback"
_AFTER_THE_SWITCH = (MigrationPhase.SWITCHED, MigrationPhase.DROPPING, MigrationPhase.ROLLING_BACK)
# Phases in which it can be ended; the second of each pair is there because an ending may have failed midway.
_ENDED_FROM = {
    FINALIZE: (MigrationPhase.SWITCHED, MigrationPhase.DROPPING),
    ROLL_BACK: (MigrationPhase.SWITCHED, MigrationPhase.ROLLING_BACK),
}
# The kinds of their jobs, by goal.
KINDS = {SWITCH: "reembed", FINALIZE: "reembed_finalize", ROLL_BACK: "reembed_rollback"}


def request(
    project: str,
    goal: str,
    *,
    wanted: Mapping[str, Any] | None = None,
    filters: Mapping[str, Any] | None = None,
    allow_missing: bool = False,
    migration: str = "",
    idempotency_key: str | None = None,
) -> JobRequest:
    """The job that re-embeds (SWITCH), removes the old space (FINALIZE), or returns to it (ROLL_BACK).

    Args:
        migration: id of the re-embedding's own job; FINALIZE and ROLL_BACK end no other re-embedding.
    """
    document: dict[str, Any] = {"op": "migrate", "memory_id": "", "goal": goal, "migration": migration}
    if goal == SWITCH:
        document |= {"wanted": dict(wanted or {}), "filters": filters and dict(filters), "allow_missing": allow_missing}
    return JobRequest(
        job_id=new_job_id(),
        kind=KINDS[goal],
        project=project,
        routing_id="",
        memory_id="",
        payload=compact_json({"operations": [document]}),
        items=1,
        idempotency_key=idempotency_key,
        shard=MIGRATION_SHARD,
        begins_migration=goal == SWITCH,
    )


def pause(keys: Keys) -> Exchange[None]:
    """Pauses the re-embedding until `resume`; a worker completes the step it has begun.

    Raises:
        ConflictError: none is under way.
    """
    yield from _control(keys, "pause")


def resume(settings: Settings, keys: Keys, *, allow_missing: bool) -> Exchange[list[str]]:
    """Continues the re-embedding after a pause or a failure; the shards to notify.

    Raises:
        ConflictError: none is under way.
    """
    job_id = yield from _control(keys, "resume", allow_missing=allow_missing)
    # A paused re-embedding polls slowly, so its next step becomes due now.
    hurry = scripts.hurry(delayed=keys.delayed, members=[delayed_member(MIGRATION_SHARD, job_id)])
    _, found = yield RoundTrip("control", [hurry, ("HMGET", keys.job(job_id), "status", "project")])
    status, project = map(as_text, found)
    if status != JobStatus.FAILED:
        return []
    return (yield from dead_letters.replay(settings, keys, project, job_id))


def ending(keys: Keys, project: str, goal: str, *, idempotency_key: str | None = None) -> Exchange[JobRequest]:
    """The job that ends the re-embedding for good: FINALIZE or ROLL_BACK.

    Raises:
        ConflictError: none is under way, or it has not switched yet and its own job is to be cancelled instead.
    """
    (found,) = yield RoundTrip("control", [("HMGET", keys.migration, "active", "job", "phase")])
    active, job_id, phase = map(as_text, found)
    if not active:
        raise nothing_under_way()
    (status,) = yield RoundTrip("control", [("HGET", keys.job(job_id), "status")])
    has_failed = status is None or as_text(status) == JobStatus.FAILED
    if phase in _ENDED_FROM[goal] or (goal == ROLL_BACK and has_failed and phase not in _AFTER_THE_SWITCH):
        return request(project, goal, migration=job_id, idempotency_key=idempotency_key)
    raise ConflictError(
        f"the re-embedding is {phase}",
        error_code=ErrorCode.MIGRATION_UNDER_WAY,
        details={"job_id": job_id, "phase": phase},
        suggestion="before the switch, cancel its job; after the switch, finalize_reembed() or rollback_reembed()",
    )


def _control(keys: Keys, word: str, *, allow_missing: bool = False) -> Exchange[str]:
    (reply,) = yield RoundTrip(
        "control", [scripts.steer(migration=keys.migration, word=word, allow_missing=allow_missing)]
    )
    job_id = scripts.steer.reply(reply)
    if job_id is None:
        raise nothing_under_way()
    return job_id


def nothing_under_way() -> ConflictError:
    """The error for a call that needs a re-embedding when none is under way."""
    return ConflictError(
        "no re-embedding is under way",
        error_code=ErrorCode.NO_MIGRATION,
        suggestion="migration() shows the latest one; reembed() begins another",
    )
