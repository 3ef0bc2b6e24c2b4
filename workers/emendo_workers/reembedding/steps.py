"""The re-embedding as a machine: what each phase does, one bounded step after another.

planned ─> filling ─> backfill ─> catching_up ─> verifying ─> switched ─> dropping ─> dropped
               |          |            |              |           |
               └──────────┴────────────┴──────────────┘           └─> rolling_back ─> rolled_back
                              └─> cancelling ─> cancelled

Each step may be done twice, or by two workers at once: what it does to the store can be repeated, and the state moves
on from what was read or not at all (`advance.lua`). Between two steps the job is put aside like one that waits for its
next attempt, which is not counted: a worker that dies takes nothing with it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from emendo_client.errors import ConflictError, EmendoError, from_document
from emendo_client.models import JobStatus
from emendo_client.reembedding.models import MigrationPhase
from emendo_client.reembedding.steering import FINALIZE, ROLL_BACK, SWITCH
from emendo_config.compact import compact_json, read_json
from emendo_config.redis_io import as_text
from emendo_config.registry import SpaceState, save_space
from emendo_workers import retry
from emendo_workers.operations import Work
from emendo_workers.outcomes import Outcome, failed
from emendo_workers.reembedding.chunks import PAUSED_LOOK
from emendo_workers.reembedding.drop import first_drop, next_drop
from emendo_workers.reembedding.migration import Migration, Wait
from emendo_workers.reembedding.pages import another_pass, first_pass, next_page
from emendo_workers.reembedding.planning import make_plan, open_target
from emendo_workers.reembedding.switch import feed_entry, point_alias, switch
from emendo_workers.reembedding.verify import verify
from emendo_workers.services import Services

logger = logging.getLogger(__name__)

# Seconds after which a worker lets the next step be taken by whoever has time for it.
STEP_SECONDS = 1.0
_LOOK = 0.1
_Phase = MigrationPhase
_PAUSABLE = (_Phase.BACKFILL, _Phase.CATCHING_UP, _Phase.VERIFYING)
_BEFORE_THE_SWITCH = (_Phase.PLANNED, _Phase.FILLING, *_PAUSABLE)
# What one step comes to: the job's end, a pause, or the next step.
Reached = Outcome | Wait | None
Step = Callable[[Migration], Reached]


def take_steps(work: Work, services: Services) -> Outcome:
    """As many steps as there is time for; the job's outcome, which is mostly: put aside until the next one.

    Raises:
        RedisError: Redis failed midway; the step is taken again.
    """
    ends = time.monotonic() + STEP_SECONDS
    migration = Migration(services, work)
    while True:
        try:
            reached = _step(migration)
        except EmendoError as error:
            return _failed(migration, error)
        if isinstance(reached, Outcome):
            return reached
        if isinstance(reached, Wait):
            return Outcome(work, JobStatus.RETRYING, delay=reached.seconds, refund=True)
        migration.read()
        # What is over is told at once: another re-embedding may begin, and this job would find that one.
        if time.monotonic() > ends and not migration.phase.is_final:
            return Outcome(work, JobStatus.RETRYING, refund=True)


def _step(migration: Migration) -> Reached:
    work, phase, goal = migration.work, migration.phase, migration.operation.goal
    if migration.job_id != (work.job_id if goal == SWITCH else migration.operation.migration):
        raise _not_now("another re-embedding has begun since")
    if goal == SWITCH:
        if work.cancelled and phase in _BEFORE_THE_SWITCH:
            return _begin_cancelling(migration)
        if migration.has("paused") and phase in _PAUSABLE:
            return Wait(PAUSED_LOOK)
    step = _STEPS[goal].get(phase)
    if step is None:
        raise _not_now(f"the re-embedding is {phase}")
    return step(migration)


def _pass_on(migration: Migration) -> Reached:
    """Backfill → catching_up → verifying, or → repaired."""
    reached = next_page(migration)
    if reached is True and migration.filters is not None:
        migration.advance({"phase": _Phase.REPAIRED}, is_over=True)
    elif reached is True and not migration.has("complete_from"):
        # From here on no change is made without the new vector; what was made before, one more pass finds.
        services = migration.services
        save_space(services.data, services.keys, replace(migration.target, state=SpaceState.LIVE))
        another = another_pass(migration)
        migration.advance({**another, "complete_from": another["pass"]})
    elif reached is True:
        migration.advance({"phase": _Phase.VERIFYING})
    return _waiting(reached)


def _verify(migration: Migration) -> Reached:
    """Verifying → switched."""
    if not migration.has("compared"):
        return _waiting(verify(migration))
    switch(migration)
    logger.info("re-embedded", extra={"job": migration.job_id, "space": migration.text("target")})
    return None


def _begin_cancelling(migration: Migration) -> Reached:
    if migration.account().open:
        return Wait(_LOOK)
    if migration.phase is _Phase.PLANNED or migration.filters is not None:
        migration.advance({"phase": _Phase.CANCELLED}, is_over=True)
    else:
        migration.advance({"phase": _Phase.CANCELLING, **first_drop()})
    return None


def _cancel(migration: Migration) -> Reached:
    """Cancelling → cancelled."""
    source, target = migration.text("source"), migration.text("target")
    point_alias(migration.services, source)  # the step that was to move it may have died after that
    if next_drop(migration, target, source):
        migration.advance({"phase": _Phase.CANCELLED}, is_over=True)
    return None


def _before_dropping(migration: Migration) -> Reached:
    """Switched → dropping, when no memory needs its old vector any more."""
    if migration.text("finalizer") != migration.work.job_id:
        migration.advance({"finalizer": migration.work.job_id, **first_pass()})
        return None
    reached = next_page(migration)
    if reached is True:
        migration.advance({"phase": _Phase.DROPPING, **first_drop()})
    return _waiting(reached)


def _drop_source(migration: Migration) -> Reached:
    """Dropping → dropped."""
    if next_drop(migration, migration.text("source"), migration.text("target")):
        migration.advance({"phase": _Phase.DROPPED}, is_over=True)
    return None


def _go_back(migration: Migration) -> Reached:
    """Switched → rolling_back."""
    source = migration.text("source")
    point_alias(migration.services, source)
    migration.advance({"phase": _Phase.ROLLING_BACK, **first_drop()}, told=feed_entry(migration, source))
    return None


def _drop_target(migration: Migration) -> Reached:
    """rolling_back → rolled_back."""
    if next_drop(migration, migration.text("target"), migration.text("source")):
        migration.advance({"phase": _Phase.ROLLED_BACK}, is_over=True)
    return None


def _clear_up(migration: Migration) -> Reached:
    """What failed before its switch → cancelling."""
    if not _has_failed(migration):
        raise _not_now("the re-embedding is still under way", suggestion="cancel its job instead")
    return _begin_cancelling(migration)


def _succeeded(migration: Migration) -> Reached:
    return Outcome(migration.work, JobStatus.SUCCEEDED)


def _was_cancelled(migration: Migration) -> Reached:
    return Outcome(migration.work, JobStatus.CANCELLED)


def _had_failed(migration: Migration) -> Reached:
    return Outcome(migration.work, JobStatus.FAILED, error=from_document(read_json(migration.text("error"))))


# What each job does in each phase; phases it has no business in are missing.
_STEPS: Mapping[str, Mapping[MigrationPhase, Step]] = {
    SWITCH: {
        _Phase.PLANNED: make_plan,
        _Phase.FILLING: open_target,
        _Phase.BACKFILL: _pass_on,
        _Phase.CATCHING_UP: _pass_on,
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
    services = migration.services
    status = services.control.hget(services.keys.job(migration.job_id), "status")
    return status is None or as_text(status) == JobStatus.FAILED


def _failed(migration: Migration, error: EmendoError) -> Outcome:
    work, services = migration.work, migration.services
    decision = retry.decide(error, work.attempts, services.settings, services.rng)
    if decision.retry:
        return Outcome(work, JobStatus.RETRYING, error=error, delay=decision.delay, refund=decision.refund)
    migration.read()
    if migration.job_id == work.job_id and migration.phase in (_Phase.PLANNED, _Phase.FILLING):
        # Nothing was changed, so there is nothing to go on with: it is asked for anew.
        document = compact_json(error.to_dict())
        migration.advance({"phase": _Phase.FAILED, "error": document}, is_over=True)
        return Outcome(work, JobStatus.FAILED, error=error)
    return failed(work, error)


def _not_now(problem: str, suggestion: str = "migration() shows how it stands") -> ConflictError:
    return ConflictError(problem, error_code="NO_MIGRATION", suggestion=suggestion)


def _waiting(reached: Wait | bool) -> Wait | None:
    return reached if isinstance(reached, Wait) else None
