"""What became of a job's attempt, from what became of its items; recorded by `finish.lua`."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from emendo_client.errors import EmendoError
from emendo_client.models import JobStatus
from emendo_config import Settings
from emendo_config.compact import compact_json
from emendo_config.queues import INFERENCE
from emendo_config.shards import shard_of
from emendo_workers import retry
from emendo_workers.operations import Operation, Work

# Fields of an operation that hold content, or say whose it is; what was erased must not live on in a dead letter.
CONTENT = ("text", "metadata", "user_id", "agent_id", "run_id", "reason", "source", "fact")
# Failures nobody would replay: one was asked for, the other can never succeed.
_NOTHING_TO_REPLAY = ("CANCELLED", "MEMORY_ERASED")


@dataclass(frozen=True, slots=True)
class ItemOutcome:
    """What became of one operation: a result, an error, both (committed, but not as safe as asked), or neither.

    Attributes:
        busy: another worker holds the memory.
        cancelled: somebody cancelled the job before this was committed.
        handed_over: it needs the chat model, which this drain must not wait for.
    """

    operation: Operation
    result: dict[str, Any] | None = None
    error: EmendoError | None = None
    busy: bool = False
    cancelled: bool = False
    handed_over: bool = False

    @property
    def is_change(self) -> bool:
        """True when the memory was changed, now or by an earlier attempt."""
        return self.result is not None and self.result["event"] is not None


@dataclass(slots=True)
class Outcome:
    """What is to be recorded of one attempt at one job or chunk.

    Attributes:
        results: an item for each operation, in their order; None where nothing is settled yet.
        feed: what the feed is told: of each change the memory, the event and the version.
        shard: where it goes on, when not where it was.
        payload: replaces the record's, when parts of it must not be kept.
    """

    work: Work
    status: JobStatus
    results: list[dict[str, Any] | None] = field(default_factory=list)
    error: EmendoError | None = None
    delay: float = 0.0
    refund: bool = False
    feed: list[list[str]] = field(default_factory=list)
    shard: str = ""
    payload: str = ""

    @property
    def failed(self) -> int:
        """Items that ended in an error."""
        return sum(bool(item and item.get("error")) for item in self.results)

    @property
    def is_dead(self) -> bool:
        """True when there is something to replay; a re-embedding comes by again by itself."""
        if self.work.operations and self.work.operations[0].op == "embed":
            return False
        codes = [_code(item) for item in self.results]
        return self.status.is_final and any(code and code not in _NOTHING_TO_REPLAY for code in codes)

    def documents(self) -> tuple[str, str]:
        """The two JSON documents of `finish.lua`: the outcome, and the results, which it stores as they are."""
        work = self.work
        done = [item for item in self.results if item is not None]
        document: dict[str, Any] = {
            "job": work.record_id,
            "entry": work.entry,
            "attempt": work.attempt,
            "status": self.status.value,
        }
        if self.status is JobStatus.RETRYING:
            document["due"] = int(self.delay * 1000)
            if done:
                document["settled"] = compact_json(self.results)
        if work.is_chunk:
            failed = self.failed
            document |= {"succeeded": len(done) - failed, "failed": failed}
        if self.feed:
            document |= {"project": work.project, "of": work.job_id}
        said = {
            "feed": self.feed,
            "disputed": [item["conflict_id"] for item in done if "conflict_id" in item],
            "resolved": [item["resolved"] for item in done if "resolved" in item],
            "dead": self.is_dead,
            "refund": self.refund,
            "error": compact_json(self.error.to_dict()) if self.error is not None else "",
            "shard": self.shard,
            "payload": self.payload,
        }
        document |= {name: value for name, value in said.items() if value}
        return compact_json(document), compact_json(done)


def judge(work: Work, items: list[ItemOutcome], settings: Settings, rng: random.Random) -> Outcome:
    """The job's outcome: done when every item is, put aside when one may yet succeed, else what most applies.

    Args:
        work: the attempt.
        items: one for each of `work.waiting`, in that order.

    Items that are settled are not tried again; one that was committed without being recorded keeps its applied
    mark, so a further attempt finds it done.
    """
    if len(work.operations) == 1 and items[0].result and not items[0].error:  # nearly every job: worth a short way
        feed = [_feed_entry(items[0])] if items[0].result["event"] else []
        return Outcome(work, JobStatus.SUCCEEDED, [_item(items[0])], feed=feed)
    if any(item.cancelled for item in items):
        # What was committed before the cancellation came stays; what another worker holds may have been. Nothing else
        # of the job is tried any more.
        items = [
            item if item.result or item.busy else ItemOutcome(item.operation, error=_was_cancelled()) for item in items
        ]
    decisions = [_decision(item, work.attempts, settings, rng) for item in items]
    found = iter(zip(items, decisions, strict=True))
    results: list[dict[str, Any] | None] = []
    for index in range(len(work.operations)):
        settled = work.settled.get(index)
        if settled is None:
            item, decision = next(found)
            settled = None if decision.retry else _item(item)
        results.append(settled)
    ended = (item for item, decision in zip(items, decisions, strict=True) if not decision.retry)
    feed = [_feed_entry(item) for item in ended if item.is_change]
    again = [(decision, item) for decision, item in zip(decisions, items, strict=True) if decision.retry]
    if again:
        decision, item = max(again, key=lambda pair: pair[0].delay)
        handed_over = any(item.handed_over for _, item in again)
        return Outcome(
            work,
            JobStatus.RETRYING,
            results,
            error=item.error,
            delay=decision.delay,
            refund=all(decision.refund for decision, _ in again),
            feed=feed,
            shard=shard_of(work.job_id, settings, INFERENCE) if handed_over else "",
        )
    if results and all(_code(item) == "CANCELLED" for item in results):
        return _cancelled(work)
    failures = [item.error for item in items if item.error is not None]
    outcome = Outcome(work, JobStatus.SUCCEEDED, results, error=failures[0] if failures else None, feed=feed)
    if outcome.failed:
        whole = outcome.failed == len(results)
        outcome.status = JobStatus.FAILED if whole else JobStatus.PARTIALLY_SUCCEEDED
        outcome.payload = _payload_without_erased(work, results)
    return outcome


def _cancelled(work: Work) -> Outcome:
    """The outcome of a job or chunk of which nothing was done; a chunk still says so for each item."""
    if not work.is_chunk:
        return Outcome(work, JobStatus.CANCELLED)
    error = _was_cancelled()
    return Outcome(
        work, JobStatus.CANCELLED, [_failed_item(ItemOutcome(operation, error=error)) for operation in work.operations]
    )


def failed(work: Work, error: EmendoError) -> Outcome:
    """The outcome of a job that could not even be worked; items that were settled before stay so."""
    results: list[dict[str, Any] | None] = [
        work.settled.get(index) or _failed_item(ItemOutcome(operation, error=error))
        for index, operation in enumerate(work.operations)
    ]
    whole = all(item and item.get("error") for item in results)
    status = JobStatus.FAILED if whole else JobStatus.PARTIALLY_SUCCEEDED
    return Outcome(work, status, results, error)


def poisoned(work: Work, deliveries: int) -> Outcome:
    """The outcome of a job whose attempts keep killing their worker."""
    return failed(
        work,
        EmendoError(
            f"{deliveries} workers died while they worked on this job",
            error_code="POISON",
            suggestion="find out why in the workers' logs before you replay it",
        ),
    )


def _decision(item: ItemOutcome, attempts: int, settings: Settings, rng: random.Random) -> retry.RetryDecision:
    if item.error is not None:
        return retry.decide(item.error, attempts, settings, rng)
    if item.busy:
        return retry.busy()
    return retry.hand_over() if item.handed_over else retry.RetryDecision(retry=False)


def _was_cancelled() -> EmendoError:
    return EmendoError("the job was cancelled before this item was committed", error_code="CANCELLED")


def _payload_without_erased(work: Work, results: list[dict[str, Any] | None]) -> str:
    """The payload a dead letter keeps, when it must not keep all of it; empty when it may."""
    erased = [_code(item) == "MEMORY_ERASED" for item in results]
    if not any(erased):
        return ""
    operations = [
        {name: value for name, value in document.items() if not (gone and name in CONTENT)}
        for document, gone in zip(work.documents, erased, strict=True)
    ]
    return compact_json({**work.head, "operations": operations})


def _code(item: dict[str, Any] | None) -> str:
    """The code of a result item's error; empty when there is none."""
    return str(((item or {}).get("error") or {}).get("code", ""))


def _item(item: ItemOutcome) -> dict[str, Any]:
    if item.result is None or item.error is not None:
        return _failed_item(item)
    return {**item.result, **_decided(item.operation)} if item.operation.decision else item.result


def _failed_item(item: ItemOutcome) -> dict[str, Any]:
    error = item.error.to_dict() if item.error is not None else None
    return {"memory_id": item.operation.memory_id, "error": error, **_decided(item.operation)}


def _decided(operation: Operation) -> dict[str, Any]:
    """What the item of an inferred one says besides."""
    said = {"decision": operation.decision, "fallback": operation.fallback}
    return {name: value for name, value in said.items() if value}


def _feed_entry(item: ItemOutcome) -> list[str]:
    # Without the text: followers read the memory, so that erasing it there erases it.
    result = item.result or {}
    return [item.operation.memory_id, str(result["event"]), str(result["version"])]
