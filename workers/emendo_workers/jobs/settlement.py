"""From the outcomes of a job's operations to the outcome of the attempt: done, retried or cancelled. Pure."""

from __future__ import annotations

import random

from emendo_client.errors import EmendoError
from emendo_client.models import JobStatus
from emendo_config import Settings
from emendo_config.error_codes import ErrorCode
from emendo_config.json_codec import compact_json
from emendo_config.queues import INFERENCE
from emendo_config.shards import shard_of
from emendo_workers.jobs import retry
from emendo_workers.jobs.operations import Document
from emendo_workers.jobs.outcomes import ItemOutcome, Outcome, cancelled_error, error_code, is_replayable
from emendo_workers.jobs.redaction import redacted, without_content
from emendo_workers.jobs.work import Work

_DONE = retry.RetryDecision(retry=False)


def settle(work: Work, items: list[ItemOutcome], settings: Settings, rng: random.Random) -> Outcome:
    """The attempt's outcome: the job is retried while an item may yet succeed, and otherwise done.

    A settled item is not worked again. An item that was committed without being recorded has its applied key, so a
    further attempt finds it done.

    Args:
        work: the attempt.
        items: one for each of `work.waiting`, in that order.
        settings: retries and shards.
        rng: for the jitter.
    """
    if len(work.operations) == 1 and items[0].result and not items[0].error:  # nearly every job takes this short way
        feed = [items[0].feed_entry()] if items[0].result["event"] else []
        return Outcome(work, JobStatus.SUCCEEDED, [items[0].result_item()], feed=feed)
    if any(item.cancelled for item in items):
        # Items committed before the cancellation stay, and an item another worker holds may be committed. The job's
        # other items are not tried again.
        items = [
            item if item.result or item.busy else ItemOutcome(item.operation, error=cancelled_error()) for item in items
        ]
    decisions = [_decision(item, work.attempts, settings, rng) for item in items]
    pairs = list(zip(items, decisions, strict=True))
    results = _results(work, pairs)
    feed = [item.feed_entry() for item, decision in pairs if item.is_change and not decision.retry]
    retried = [(item, decision) for item, decision in pairs if decision.retry]
    if retried:
        item, decision = max(retried, key=lambda pair: pair[1].delay)
        handed_over = any(item.handed_over for item, _ in retried)
        # Chunks and conversations have windows; single changes of one memory have no other bound.
        is_queued = item.busy and len(work.operations) == 1 and not work.is_chunk and not work.is_inferred
        return Outcome(
            work,
            JobStatus.RETRYING,
            results,
            error=item.error,
            delay=decision.delay,
            refund=all(decision.refund for _, decision in retried),
            feed=feed,
            shard=shard_of(work.job_id, settings, INFERENCE) if handed_over else "",
            payload=_payload_without_settled(work, results),
            behind=item.operation.memory_id if is_queued else "",
        )
    if results and all(error_code(item) == ErrorCode.CANCELLED for item in results):
        return _cancelled(work)
    failures = [item.error for item in items if item.error is not None]
    outcome = Outcome(work, JobStatus.SUCCEEDED, results, error=failures[0] if failures else None, feed=feed)
    if outcome.failures:
        outcome.status = _failed_status(results)
        outcome.payload = _payload_without_erased(work, results)
    return outcome


def failed(work: Work, error: EmendoError) -> Outcome:
    """The outcome of a job that could not be worked at all; items settled before keep their result."""
    results: list[Document | None] = [
        work.settled.get(index) or ItemOutcome(operation, error=error).result_item()
        for index, operation in enumerate(work.operations)
    ]
    return Outcome(work, _failed_status(results), results, error)


def poisoned(work: Work, deliveries: int) -> Outcome:
    """The outcome of a job whose attempts keep killing their worker."""
    return failed(
        work,
        EmendoError(
            f"{deliveries} workers died while they worked on this job",
            error_code=ErrorCode.POISON,
            suggestion="find the cause in the workers' logs before you replay it",
        ),
    )


def _results(work: Work, pairs: list[tuple[ItemOutcome, retry.RetryDecision]]) -> list[Document | None]:
    """The items of this attempt and of earlier ones, in the operations' order; None where nothing is settled."""
    found = iter(pairs)
    results: list[Document | None] = []
    for index in range(len(work.operations)):
        settled = work.settled.get(index)
        if settled is None:
            item, decision = next(found)
            settled = None if decision.retry else item.result_item()
        results.append(settled)
    return results


def _failed_status(results: list[Document | None]) -> JobStatus:
    whole = all(item and item.get("error") for item in results)
    return JobStatus.FAILED if whole else JobStatus.PARTIALLY_SUCCEEDED


def _cancelled(work: Work) -> Outcome:
    """The outcome of a job or chunk that did nothing; a chunk reports it for each item."""
    if not work.is_chunk:
        return Outcome(work, JobStatus.CANCELLED)
    error = cancelled_error()
    results: list[Document | None] = [
        ItemOutcome(operation, error=error).result_item() for operation in work.operations
    ]
    return Outcome(work, JobStatus.CANCELLED, results)


def _decision(item: ItemOutcome, attempts: int, settings: Settings, rng: random.Random) -> retry.RetryDecision:
    if item.error is not None:
        return retry.decide(item.error, attempts, settings, rng)
    if item.busy:
        return retry.busy()
    return retry.hand_over() if item.handed_over else _DONE


def _payload_without_settled(work: Work, results: list[Document | None]) -> str:
    """The payload of a job that is put aside: no content of what is settled; empty when it stays as it is.

    A replay tries again what it may change, so the content of such an item stays.
    """
    documents = [
        document
        if results[place] is None or is_replayable(results[place])
        else without_content(document, is_planned=work.is_planned)
        for place, document in enumerate(work.documents)
    ]
    return "" if documents == work.documents else compact_json({**work.head, "operations": documents})


def _payload_without_erased(work: Work, results: list[Document | None]) -> str:
    """The payload a dead letter keeps if a memory of the job is erased; empty when it may keep all of it."""
    erased = [error_code(item) == ErrorCode.MEMORY_ERASED for item in results]
    if not any(erased):
        return ""
    operations = [
        redacted(document) if gone else document for document, gone in zip(work.documents, erased, strict=True)
    ]
    return compact_json({**work.head, "operations": operations})
