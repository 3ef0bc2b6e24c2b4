"""The metrics of a batch of attempts: what became of the jobs, and how long it took. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from emendo_client.models import Event, JobStatus
from emendo_config import metric_families as metrics
from emendo_config.error_codes import ErrorCode
from emendo_config.metric_families import count, observe
from emendo_workers.jobs.operations import Document
from emendo_workers.jobs.outcomes import Outcome, error_code, is_replayable

_SECOND = 1_000_000
_EVENTS = frozenset(event.value for event in Event)


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
    whole = dict(ended)
    jobs: dict[tuple[str, str], int] = {}
    results: dict[tuple[str, str], int] = {}
    done: dict[str, list[tuple[float, float, int]]] = {}
    for outcome in outcomes:
        work, status = outcome.work, outcome.status
        if status is JobStatus.RETRYING:
            count(counts, metrics.RETRIES, _reason(outcome))
            continue
        kind = metrics.known_kind(work.kind)
        final = whole.pop(work.job_id, None) if work.is_chunk else status
        if final is not None:
            jobs[kind, final] = jobs.get((kind, final), 0) + 1
        successes = _count_items(counts, results, kind, outcome)
        if outcome.error is not None and outcome.is_dead:
            count(counts, metrics.DEAD_LETTERED, metrics.known_code(str(outcome.error.error_code)))
        if successes:
            first = (work.first_began or 0) / _SECOND or times.began
            done.setdefault(kind, []).append((work.submitted / _SECOND, first, successes))
    for labels, number in jobs.items():
        count(counts, metrics.JOBS_ENDED, *labels, by=number)
    for labels, number in results.items():
        count(counts, metrics.OPERATIONS, *labels, by=number)
    for kind, jobs_done in done.items():
        _count_times(counts, kind, jobs_done, times)
    return counts


def _count_times(counts: dict[str, int], kind: str, done: Sequence[tuple[float, float, int]], times: Times) -> None:
    """Counts the times of operations without an error.

    Args:
        counts: by field.
        kind: of the jobs.
        done: when each job was accepted, when its first attempt began (seconds), and how many operations it has.
        times: of the batch.
    """
    began, recorded = times.began, times.recorded
    observe(counts, metrics.COMMIT_SECONDS, [(recorded - accepted, number) for accepted, _, number in done], kind)
    stages = {metrics.QUEUE: [(first - accepted, number) for accepted, first, number in done]}
    whole = sum(number for *_, number in done)
    again = [(began - first, number) for _, first, number in done if first != began]
    stages[metrics.RETRY] = [*again, (0.0, whole - sum(number for _, number in again))]
    for stage in (metrics.LOCK, metrics.PROVIDER, metrics.COMMIT):
        stages[stage] = [(times.stages.get(stage, 0.0), whole)]
    for stage, seconds in stages.items():
        observe(counts, metrics.STAGE_SECONDS, seconds, kind, stage)


def buried(*, is_chunk: bool) -> dict[str, int]:
    """The counts of a record that cannot be read and became a dead letter."""
    counts: dict[str, int] = {}
    if not is_chunk:
        count(counts, metrics.JOBS_ENDED, metrics.OTHER, JobStatus.FAILED.value)
    count(counts, metrics.DEAD_LETTERED, ErrorCode.PAYLOAD_UNREADABLE.value)
    return counts


def _count_items(counts: dict[str, int], results: dict[tuple[str, str], int], kind: str, outcome: Outcome) -> int:
    """Counts the results of a job's or a chunk's operations; how many have no error."""
    successes = waiting = resolved = 0
    for item in outcome.results:
        code = ""
        if item and item.get("error"):
            code = error_code(item)
            count(counts, metrics.OPERATION_ERRORS, metrics.known_code(code))
        elif item:
            successes += 1
            waiting += "conflict_id" in item
            resolved += "resolved" in item
        result = kind, _result(item or {}, code)
        results[result] = results.get(result, 0) + 1
    if outcome.status is JobStatus.CANCELLED and not outcome.results:
        result = kind, metrics.CANCELLED
        results[result] = results.get(result, 0) + len(outcome.work.operations)
    for event, number in (("waiting", waiting), ("resolved", resolved)):
        if number:
            count(counts, metrics.CONFLICTS, event, by=number)
    return successes


def _result(item: Document, code: str) -> str:
    if code:
        if code == ErrorCode.CANCELLED:
            return metrics.CANCELLED
        return metrics.FAILED if is_replayable(item) else metrics.REFUSED
    event = item.get("event")
    return metrics.UNCHANGED if event is None else event if event in _EVENTS else metrics.OTHER


def _reason(outcome: Outcome) -> str:
    if outcome.error is not None:
        return metrics.known_code(str(outcome.error.error_code))
    return metrics.HANDED_OVER if outcome.shard else metrics.LOCKED
