"""The outcome of one operation, and the outcome of one attempt at a job. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from emendo_client.errors import EmendoError
from emendo_client.models import JobStatus
from emendo_config.error_codes import ErrorCode
from emendo_workers.jobs.operations import Document, Embed, Operation, Plannable
from emendo_workers.jobs.work import Work

_REFUSALS = frozenset(code.value for code in ErrorCode if not code.is_replayable)


# Not frozen: every operation makes one.
@dataclass(slots=True)
class ItemOutcome:
    """The outcome of one operation: a result, an error, both, or neither.

    Both mean: the change is committed, but not as durable as asked.

    Attributes:
        based_on: version and commit of the state upon which an operation found nothing to do.
        busy: another worker holds the memory.
        cancelled: somebody cancelled the job before this was committed.
        handed_over: it needs the chat model, which this drain must not wait for.
    """

    operation: Operation
    result: Document | None = None
    error: EmendoError | None = None
    busy: bool = False
    cancelled: bool = False
    handed_over: bool = False
    based_on: tuple[int, str] | None = None

    @property
    def is_change(self) -> bool:
        """True when the memory was changed, now or by an earlier attempt."""
        return self.result is not None and self.result["event"] is not None

    def result_item(self) -> Document:
        """The operation's item in the job's result."""
        if self.result is None or self.error is not None:
            error = self.error.to_dict() if self.error is not None else None
            return {"memory_id": self.operation.memory_id, "error": error, **_decision(self.operation)}
        decision = _decision(self.operation)
        return {**self.result, **decision} if decision else self.result

    def feed_entry(self) -> list[str]:
        """The change's entry in the feed, without text: followers read the memory, so an erasure there is complete."""
        result = self.result or {}
        return [self.operation.memory_id, str(result["event"]), str(result["version"])]


def _decision(operation: Operation) -> Document:
    """The part of a planned operation's result item that tells of the decision."""
    if not isinstance(operation, Plannable) or not operation.decision:
        return {}
    added = {"decision": operation.decision, "fallback": operation.fallback}
    return {name: value for name, value in added.items() if value}


@dataclass(slots=True)
class Outcome:
    """The outcome of one attempt at one job or chunk, to be recorded.

    Attributes:
        results: an item for each operation, in their order; None where nothing is settled yet.
        delay: seconds until the next attempt.
        refund: the attempt is not counted.
        feed: for each change its memory, event and version.
        shard: where the job goes on, if not where it was.
        payload: replaces the record's payload, if parts of it must not be kept.
        behind: the memory whose lock the job waits for, if it waits for nothing else.
    """

    work: Work
    status: JobStatus
    results: list[Document | None] = field(default_factory=list)
    error: EmendoError | None = None
    delay: float = 0.0
    refund: bool = False
    feed: list[list[str]] = field(default_factory=list)
    shard: str = ""
    payload: str = ""
    behind: str = ""

    @property
    def failures(self) -> list[Document]:
        """The items that ended in an error."""
        return [item for item in self.results if item and item.get("error")]

    @property
    def is_dead(self) -> bool:
        """True when there is something to replay; a re-embedding looks at its failures again by itself."""
        if self.status is JobStatus.SUCCEEDED or not self.status.is_final:  # nearly every job has succeeded
            return False
        if self.work.operations and isinstance(self.work.operations[0], Embed):
            return False
        return any(is_replayable(item) for item in self.failures)

    @property
    def memories(self) -> list[str]:
        """The memories of the payload that the record keeps, as far as it holds content of them."""
        if self.is_dead:
            kept = self.work.operations
        elif self.status is JobStatus.RETRYING:
            settled = {place for place, item in enumerate(self.results) if item is not None}
            kept = [operation for place, operation in enumerate(self.work.operations) if place not in settled]
        else:
            return []
        return list({each.memory_id: None for each in kept if each.memory_id and not isinstance(each, Embed)})


def cancelled_error() -> EmendoError:
    """The error of an operation whose job was cancelled first."""
    return EmendoError("the job was cancelled before this item was committed", error_code=ErrorCode.CANCELLED)


def error_code(item: Document | None) -> str:
    """The code of a result item's error; empty when there is none."""
    return str(((item or {}).get("error") or {}).get("code", ""))


def is_replayable(item: Document | None) -> bool:
    """True for a result item whose error a replay may change; a refusal of the request itself stays one."""
    code = error_code(item)
    return bool(code) and code not in _REFUSALS
