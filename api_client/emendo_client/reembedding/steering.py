"""Beginning a re-embedding, and steering one that is under way."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from emendo_client import dead_letters
from emendo_client.errors import ConflictError
from emendo_client.models import JobStatus
from emendo_client.reembedding.models import MigrationPhase
from emendo_client.requests import JobRequest
from emendo_client.steps import Batch, Steps, script
from emendo_config import Keys, Settings
from emendo_config.compact import compact_json
from emendo_config.redis_io import as_text
from emendo_config.shards import MIGRATION_SHARD

SWITCH, FINALIZE, ROLL_BACK = "switch", "finalize", "rollback"
_AFTER_THE_SWITCH = (MigrationPhase.SWITCHED, MigrationPhase.DROPPING, MigrationPhase.ROLLING_BACK)
# A job that ends it may have failed midway.
_ENDED_FROM = {
    FINALIZE: (MigrationPhase.SWITCHED, MigrationPhase.DROPPING),
    ROLL_BACK: (MigrationPhase.SWITCHED, MigrationPhase.ROLLING_BACK),
}
_KINDS = {SWITCH: "reembed", FINALIZE: "reembed_finalize", ROLL_BACK: "reembed_rollback"}


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
    """The job that re-embeds (SWITCH), removes the old space (FINALIZE), or goes back to it (ROLL_BACK).

    Args:
        migration: the job of the re-embedding that is to be ended; such a job leaves every other one alone.
    """
    document: dict[str, Any] = {"op": "migrate", "memory_id": "", "goal": goal, "migration": migration}
    if goal == SWITCH:
        document |= {"wanted": dict(wanted or {}), "filters": filters and dict(filters), "allow_missing": allow_missing}
    return JobRequest(
        job_id=str(uuid.uuid4()),
        kind=_KINDS[goal],
        project=project,
        routing_id="",
        memory_id="",
        payload=compact_json({"operations": [document]}),
        items=1,
        idempotency_key=idempotency_key,
        shard=MIGRATION_SHARD,
        begins_migration=goal == SWITCH,
    )


def pause(keys: Keys) -> Steps[None]:
    """Lets the re-embedding stand still until it is resumed; what a worker has begun, it ends.

    Raises:
        ConflictError: none is under way.
    """
    yield from _steer(keys, "pause")


def resume(settings: Settings, keys: Keys, *, allow_missing: bool) -> Steps[list[str]]:
    """Lets the re-embedding go on after a pause or a failure; the shards to ring.

    Raises:
        ConflictError: none is under way.
    """
    job_id = yield from _steer(keys, "resume", allow_missing=allow_missing)
    # It looks seldom while it is paused.
    hurry = ("ZADD", keys.delayed, "XX", "LT", 0, f"{MIGRATION_SHARD}:{job_id}")
    _, found = yield Batch("control", [hurry, ("HMGET", keys.job(job_id), "status", "project")])
    status, project = map(as_text, found)
    if status != JobStatus.FAILED:
        return []
    return (yield from dead_letters.replay(settings, keys, project, job_id))


def ending(keys: Keys, project: str, goal: str, *, idempotency_key: str | None = None) -> Steps[JobRequest]:
    """The job that ends the re-embedding for good: FINALIZE or ROLL_BACK.

    Raises:
        ConflictError: there is nothing to end, or its own job is to be cancelled instead.
    """
    (found,) = yield Batch("control", [("HMGET", keys.migration, "active", "job", "phase")])
    active, job_id, phase = map(as_text, found)
    if not active:
        raise nothing_under_way()
    (status,) = yield Batch("control", [("HGET", keys.job(job_id), "status")])
    has_failed = status is None or as_text(status) == JobStatus.FAILED
    if phase in _ENDED_FROM[goal] or (goal == ROLL_BACK and has_failed and phase not in _AFTER_THE_SWITCH):
        return request(project, goal, migration=job_id, idempotency_key=idempotency_key)
    raise ConflictError(
        f"the re-embedding is {phase}",
        error_code="MIGRATION_UNDER_WAY",
        details={"job_id": job_id, "phase": phase},
        suggestion="before its switch, cancel its job; after it, finalize_reembed() or rollback_reembed()",
    )


def _steer(keys: Keys, word: str, *, allow_missing: bool = False) -> Steps[str]:
    (reply,) = yield Batch("control", [script("steer", [keys.migration], [word, int(allow_missing)])])
    if reply is None:
        raise nothing_under_way()
    return as_text(reply)


def nothing_under_way() -> ConflictError:
    """The error for steering a re-embedding that is not there."""
    return ConflictError(
        "no re-embedding is under way",
        error_code="NO_MIGRATION",
        suggestion="migration() shows the latest one; reembed() begins another",
    )
