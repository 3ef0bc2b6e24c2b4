"""What became of a job's attempt, from what became of its items; recorded by `finish.lua`."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any

from emendo_client.errors import EmendoError
from emendo_client.models import JobStatus
from emendo_config import Keys, Settings
from emendo_workers import retry
from emendo_workers.operations import Operation, Work


@dataclass(frozen=True, slots=True)
class ItemOutcome:
    """What became of one operation: a result, an error, or neither when its memory was busy or it was cancelled."""

    operation: Operation
    result: dict[str, Any] | None = None
    error: EmendoError | None = None
    busy: bool = False
    cancelled: bool = False


@dataclass(slots=True)
class Outcome:
    """What is to be recorded of one attempt at one job."""

    work: Work
    status: JobStatus
    results: list[dict[str, Any]] = field(default_factory=list)
    error: EmendoError | None = None
    delay: float = 0.0
    refund: bool = False
    feed: list[list[str]] = field(default_factory=list)

    def document(self, keys: Keys) -> str:
        """One of the JSON documents of `finish.lua`."""
        document: dict[str, Any] = {
            "job": self.work.job_id,
            "entry": self.work.entry,
            "status": self.status.value,
            "results": json.dumps(self.results, ensure_ascii=False, separators=(",", ":")),
            "due": int(self.delay * 1000),
            "channel": keys.job_channel(self.work.job_id),
            "feed": self.feed,
        }
        if self.refund:
            document["refund"] = True
        if self.error is not None:
            document["error"] = json.dumps(self.error.to_dict(), ensure_ascii=False)
        return json.dumps(document, ensure_ascii=False)


def judge(work: Work, items: list[ItemOutcome], settings: Settings, rng: random.Random) -> Outcome:
    """The job's outcome: done when every item is, put aside when one may yet succeed, else what most applies.

    Items that were committed keep their applied marks, so a further attempt does only what is left.
    """
    if any(item.cancelled for item in items):
        if not any(item.result for item in items):
            return Outcome(work, JobStatus.CANCELLED)
        # What was committed before the cancellation came stays; nothing else of the job is tried any more.
        items = [item if item.result else _cancelled(item) for item in items]
    waiting = _waiting(work, items, settings, rng)
    if waiting is not None:
        return waiting
    results = [item.result or _failed_item(item) for item in items]
    failures = [item.error for item in items if item.error is not None]
    if not failures:
        status = JobStatus.SUCCEEDED
    else:
        status = JobStatus.FAILED if len(failures) == len(items) else JobStatus.PARTIALLY_SUCCEEDED
    return Outcome(
        work,
        status,
        results,
        error=failures[0] if failures else None,
        feed=[_feed_entry(item) for item in items if item.result is not None],
    )


def poisoned(work: Work, deliveries: int) -> Outcome:
    """The outcome of a job whose attempts keep killing their worker."""
    error = EmendoError(
        f"{deliveries} workers died while they worked on this job",
        error_code="POISON",
        suggestion="find out why in the workers' logs before you replay it",
    )
    return Outcome(
        work, JobStatus.FAILED, [_failed_item(ItemOutcome(op, error=error)) for op in work.operations], error
    )


def _cancelled(item: ItemOutcome) -> ItemOutcome:
    error = EmendoError("the job was cancelled before this item was committed", error_code="CANCELLED")
    return ItemOutcome(item.operation, error=error)


def _waiting(work: Work, items: list[ItemOutcome], settings: Settings, rng: random.Random) -> Outcome | None:
    """RETRYING when an item may yet succeed: after the longest of the pauses its items ask for."""
    pauses = [
        (retry.decide(item.error, work.attempts, settings, rng), item.error) for item in items if item.error is not None
    ]
    again = [(decision, error) for decision, error in pauses if decision.retry]
    if again:
        decision, error = max(again, key=lambda pair: pair[0].delay)
        return Outcome(work, JobStatus.RETRYING, error=error, delay=decision.delay, refund=decision.refund)
    if any(item.busy for item in items):
        decision = retry.busy()
        return Outcome(work, JobStatus.RETRYING, delay=decision.delay, refund=decision.refund)
    return None


def _failed_item(item: ItemOutcome) -> dict[str, Any]:
    error = item.error.to_dict() if item.error is not None else None
    return {"memory_id": item.operation.memory_id, "error": error}


def _feed_entry(item: ItemOutcome) -> list[str]:
    # Without the text: followers read the memory, so that erasing it there erases it.
    result, operation = item.result or {}, item.operation
    entry = {
        "memory_id": operation.memory_id,
        "project": operation.project,
        "event": str(result["event"]),
        "version": str(result["version"]),
        "job_id": operation.job_id,
    }
    return [part for pair in entry.items() for part in pair]
