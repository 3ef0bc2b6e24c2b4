"""The re-embedding as a state machine: what each phase does, one bounded step after another.

planned ─> filling ─> backfill ─> catching_up ─> verifying ─> switched ─> dropping ─> dropped
               |          |            |              |           |
               └──────────┴────────────┴──────────────┘           └─> rolling_back ─> rolled_back
                              └─> cancelling ─> cancelled

A step may be taken twice, or by two workers at once. Its changes to the store can be repeated, and the state advances
only if it is still the one that was read (`advance.lua`). Between steps the job is put aside like one that waits for
its next attempt, which is not counted. So a worker that dies loses nothing.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from emendo_client.errors import ConflictError, EmendoError, from_document
from emendo_client.exchanges.reembedding.control import FINALIZE, ROLL_BACK, SWITCH
from emendo_client.exchanges.reembedding.models import MigrationPhase
from emendo_client.models import JobStatus
from emendo_config.error_codes import ErrorCode
from emendo_config.json_codec import compact_json, read_json
from emendo_config.spaces.registry import SpaceState, save_space
from emendo_config.store.pipeline import as_text
from emendo_workers.jobs import retry
from emendo_workers.jobs.outcomes import Outcome
from emendo_workers.jobs.settlement import failed
from emendo_workers.jobs.work import Work
from emendo_workers.reembedding.chunks import PAUSED_POLL
from emendo_workers.reembedding.drop import drop_next_page, first_drop_fields
from emendo_workers.reembedding.migration import Migration, Wait
from emendo_workers.reembedding.passes import first_pass_fields, next_pass_fields, queue_next_page
from emendo_workers.reembedding.preparation import choose_target, create_target
from emendo_workers.reembedding.switch import feed_entry, point_alias, switch
from emendo_workers.reembedding.verify import is_indexing, verify
from emendo_workers.services import Services

logger = logging.getLogger(__name__)

# Seconds after which an attempt takes no further step and puts the job aside.
ATTEMPT_SECONDS = 1.0
# Seconds until a cancelled re-embedding looks again at its open chunks.
_POLL = 0.1
_Phase = MigrationPhase
_PAUSABLE = (_Phase.BACKFILL, _Phase.CATCHING_UP, _Phase.VERIFYING)
_BEFORE_THE_SWITCH = (_Phase.PLANNED, _Phase.FILLING, *_PAUSABLE)
# After a step: the job's end, a pause, or None for the next step.
StepResult = Outcome | Wait | None
Step = Callable[[Migration], StepResult]


def take_steps(work: Work, services: Services) -> Outcome:
    """Takes steps until the attempt's time is over; the outcome, which mostly puts the job aside for the next attempt.

    Raises:
        RedisError: Redis failed midway; the step is taken again.
    """
    ends = time.monotonic() + ATTEMPT_SECONDS
    migration = Migration(services.store, services.notifier, work)
    while True:
        try:
            result = _step(migration)
        except EmendoError as error:
            return _failed(migration, error, services.rng)
        if isinstance(result, Outcome):
            return result
        if isinstance(result, Wait):
            return Outcome(work, JobStatus.RETRYING, delay=result.seconds, refund=True)
        migration.read()
        # A re-embedding that is over ends its job at once: the next attempt might find another re-embedding.
        if time.monotonic() > ends and not migration.phase.is_final:
            return Outcome(work, JobStatus.RETRYING, refund=True)


def _step(migration: Migration) -> StepResult:
    work, phase, goal = migration.work, migration.phase, migration.operation.goal
    if migration.job_id != (work.job_id if goal == SWITCH else migration.operation.migration):
        raise _not_now("another re-embedding has begun since")
    if goal == SWITCH:
        if work.cancelled and phase in _BEFORE_THE_SWITCH:
            return _begin_cancelling(migration)
        if migration.has("paused") and phase in _PAUSABLE:
            return Wait(PAUSED_POLL)
    step = _STEPS.get(goal, {}).get(phase)
    if step is None:
        raise _not_now(f"the re-embedding is {phase}")
    return step(migration)


def _backfill(migration: Migration) -> StepResult:
    """Backfill → catching_up → verifying, or → repaired."""
    reached = queue_next_page(migration)
    if reached is True and migration.filters is not None:
        migration.advance({"phase": _Phase.REPAIRED}, is_over=True)
    elif reached is True and not migration.has("complete_from"):
        # From here on every change writes the new vector. One more pass finds the memories changed before.
        store = migration.store
        save_space(store.data, store.keys, replace(migration.target, state=SpaceState.LIVE))
        following = next_pass_fields(migration)
        migration.advance({**following, "complete_from": following["pass"]})
    elif reached is True:
        migration.advance({"phase": _Phase.VERIFYING})
    return _waiting(reached)


def _verify(migration: Migration) -> StepResult:
    """Verifying → switched."""
    if not migration.has("compared"):
        return _waiting(verify(migration))
    switch(migration)
    logger.info("re-embedded", extra={"job": migration.job_id, "space": migration.text("target")})
    return None


def _begin_cancelling(migration: Migration) -> StepResult:
    if migration.chunk_counts().open:
        return Wait(_POLL)
    if migration.phase is _Phase.PLANNED or migration.filters is not None:
        migration.advance({"phase": _Phase.CANCELLED}, is_over=True)
    else:
        migration.advance({"phase": _Phase.CANCELLING, **first_drop_fields()})
    return None


def _cancel(migration: Migration) -> StepResult:
    """Cancelling → cancelled."""
    source, target = migration.text("source"), migration.text("target")
    if is_indexing(migration.store, migration.store.keys.index(source)):
        return Wait(_POLL)
    point_alias(migration.store, source)  # an earlier step may have moved it and died
    if drop_next_page(migration, target, source):
        migration.advance({"phase": _Phase.CANCELLED}, is_over=True)
    return None


def _before_dropping(migration: Migration) -> StepResult:
    """Switched → dropping, once every memory has its new vector."""
    if migration.text("finalizer") != migration.work.job_id:
        migration.advance({"finalizer": migration.work.job_id, **first_pass_fields()})
        return None
    reached = queue_next_page(migration)
    if reached is True:
        migration.advance({"phase": _Phase.DROPPING, **first_drop_fields()})
    return _waiting(reached)


def _drop_source(migration: Migration) -> StepResult:
    """Dropping → dropped."""
    if drop_next_page(migration, migration.text("source"), migration.text("target")):
        migration.advance({"phase": _Phase.DROPPED}, is_over=True)
    return None


def _go_back(migration: Migration) -> StepResult:
    """Switched → rolling_back."""
    source = migration.text("source")
    if is_indexing(migration.store, migration.store.keys.index(source)):
        return Wait(_POLL)
    point_alias(migration.store, source)
    migration.advance({"phase": _Phase.ROLLING_BACK, **first_drop_fields()}, feed_entry=feed_entry(migration, source))
    return None


def _drop_target(migration: Migration) -> StepResult:
    """rolling_back → rolled_back."""
    if drop_next_page(migration, migration.text("target"), migration.text("source")):
        migration.advance({"phase": _Phase.ROLLED_BACK}, is_over=True)
    return None


def _clear_up(migration: Migration) -> StepResult:
    """A job that failed before its switch → cancelling."""
    if not _has_failed(migration):
        raise _not_now("the re-embedding is still under way", suggestion="cancel its job instead")
    return _begin_cancelling(migration)


def _succeeded(migration: Migration) -> StepResult:
    return Outcome(migration.work, JobStatus.SUCCEEDED)


def _was_cancelled(migration: Migration) -> StepResult:
    return Outcome(migration.work, JobStatus.CANCELLED)


def _had_failed(migration: Migration) -> StepResult:
    return Outcome(migration.work, JobStatus.FAILED, error=from_document(read_json(migration.text("error"))))


# The step of each job in each phase; in a phase that is missing the job fails.
_STEPS: Mapping[str, Mapping[MigrationPhase, Step]] = {
    SWITCH: {
        _Phase.PLANNED: choose_target,
        _Phase.FILLING: create_target,
        _Phase.BACKFILL: _backfill,
        _Phase.CATCHING_UP: _backfill,
        _Phase.VERIFYING: _verify,
        _Phase.CANCELLING: _cancel,
        _Phase.CANCELLED: _was_cancelled,
        _Phase.FAILED: _had_failed,
        **dict.fromkeys((_Phase.REPAIRED, _Phase.SWITCHED, _Phase.DROPPING, _Phase.DROPPED), _succeeded),
        **dict.fromkeys((_Phase.ROLLING_BACK, _Phase.ROLLED_BACK), _succeeded),
    },
    FINALIZE: {
        _Phase.SWITCHED: _before_dropping,
        _Phase.DROPPING: _drop_source,
        _Phase.DROPPED: _succeeded,
    },
    ROLL_BACK: {
        **dict.fromkeys(_BEFORE_THE_SWITCH, _clear_up),
        _Phase.SWITCHED: _go_back,
        _Phase.ROLLING_BACK: _drop_target,
        _Phase.ROLLED_BACK: _succeeded,
        _Phase.CANCELLING: _cancel,
        _Phase.CANCELLED: _succeeded,
    },
}


def _has_failed(migration: Migration) -> bool:
    store = migration.store
    status = store.control.hget(store.keys.job(migration.job_id), "status")
    return status is None or as_text(status) == JobStatus.FAILED


def _failed(migration: Migration, error: EmendoError, rng: random.Random) -> Outcome:
    work = migration.work
    decision = retry.decide(error, work.attempts, migration.store.settings, rng)
    if decision.retry:
        return Outcome(work, JobStatus.RETRYING, error=error, delay=decision.delay, refund=decision.refund)
    migration.read()
    if migration.job_id == work.job_id and migration.phase in (_Phase.PLANNED, _Phase.FILLING):
        # Nothing was changed, so nothing can be resumed: the caller starts another re-embedding.
        document = compact_json(error.to_dict())
        migration.advance({"phase": _Phase.FAILED, "error": document}, is_over=True)
        return Outcome(work, JobStatus.FAILED, error=error)
    return failed(work, error)


def _not_now(problem: str, suggestion: str = "migration() shows its state") -> ConflictError:
    return ConflictError(problem, error_code=ErrorCode.NO_MIGRATION, suggestion=suggestion)


def _waiting(reached: Wait | bool) -> Wait | None:
    return reached if isinstance(reached, Wait) else None
