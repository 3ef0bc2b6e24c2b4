"""The metrics of a batch of attempts: what became of the jobs, and how long it took. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from emendo_client.models import Event, JobStatus
from emendo_config import metric_families as metrics
from emendo_config.error_codes import ErrorCode
from emendo_config.metric_families import count, observe
from emendo_workers.jobs.operations import Document
from emendo_workers.jobs.outcomes import Outcome, error_code, is_replayable

_SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Times:
    """The times of a batch.

    Attributes:
        began, recorded: when the attempts began, and when their outcomes were recorded (seconds, by the control Redis).
        stages: seconds by stage.
    """

    began: float
    recorded: float
    stages: Mapping[str, float]


def counts_of(outcomes: Iterable[Outcome], ended: Mapping[str, JobStatus], times: Times) -> dict[str, int]:
    """The counts of attempts that were recorded.

    Args:
        outcomes: theirs.
        ended: the state of batch jobs that ended with one of these chunks.
        times: of the batch.
    """
    counts: dict[str, int] = {}
    done: dict[str, int] = {}
    whole = dict(ended)
    for outcome in outcomes:
        if outcome.status is JobStatus.RETRYING:
            count(counts, metrics.RETRIES, _reason(outcome))
            continue
        work = outcome.work
        kind = metrics.known_kind(work.kind)
        status = whole.pop(work.job_id, None) if work.is_chunk else outcome.status
        if status is not None:
            count(counts, metrics.JOBS_ENDED, kind, status.value)
        successes = _count_items(counts, kind, outcome)
        if outcome.error is not None and outcome.is_dead:
            count(counts, metrics.DEAD_LETTERED, metrics.known_code(str(outcome.error.error_code)))
        if successes:
            done[kind] = done.get(kind, 0) + successes
            accepted, first = work.submitted / _SECOND, (work.first_began or 0) / _SECOND or times.began
            observe(counts, metrics.COMMIT_SECONDS, times.recorded - accepted, kind, times=successes)
            observe(counts, metrics.STAGE_SECONDS, first - accepted, kind, metrics.QUEUE, times=successes)
            observe(counts, metrics.STAGE_SECONDS, times.began - first, kind, metrics.RETRY, times=successes)
    for kind, successes in done.items():
        for stage in (metrics.LOCK, metrics.PROVIDER, metrics.COMMIT):
            seconds = times.stages.get(stage, 0.0)
            observe(counts, metrics.STAGE_SECONDS, seconds, kind, stage, times=successes)
    return counts


def buried(*, is_chunk: bool) -> dict[str, int]:
    """The counts of a record that cannot be read and became a dead letter."""
    counts: dict[str, int] = {}
    if not is_chunk:
        count(counts, metrics.JOBS_ENDED, metrics.OTHER, JobStatus.FAILED.value)
    count(counts, metrics.DEAD_LETTERED, ErrorCode.PAYLOAD_UNREADABLE.value)
    return counts


def _count_items(counts: dict[str, int], kind: str, outcome: Outcome) -> int:
    """Counts the results of a job's or a chunk's operations; how many have no error."""
    successes = 0
    for item in outcome.results:
        code = error_code(item) if item and item.get("error") else ""
        if code:
            count(counts, metrics.OPERATION_ERRORS, metrics.known_code(code))
        else:
            successes += 1
        count(counts, metrics.OPERATIONS, kind, _result(item or {}, code))
    if outcome.status is JobStatus.CANCELLED and not outcome.results:
        count(counts, metrics.OPERATIONS, kind, metrics.CANCELLED, by=len(outcome.work.operations))
    for name, event in (("conflict_id", "waiting"), ("resolved", "resolved")):
        found = sum(name in item for item in outcome.results if item)
        if found:
            count(counts, metrics.CONFLICTS, event, by=found)
    return successes


def _result(item: Document, code: str) -> str:
    if code:
        if code == ErrorCode.CANCELLED:
            return metrics.CANCELLED
        return metrics.FAILED if is_replayable(item) else metrics.REFUSED
    event = item.get("event")
    return metrics.UNCHANGED if event is None else str(event) if event in Event.__members__ else metrics.OTHER


def _reason(outcome: Outcome) -> str:
    if outcome.error is not None:
        return metrics.known_code(str(outcome.error.error_code))
    return metrics.HANDED_OVER if outcome.shard else metrics.LOCKED
