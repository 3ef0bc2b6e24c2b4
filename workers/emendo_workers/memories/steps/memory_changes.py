"""One memory of a batch: the operations on it, and the changes decided so far."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Any

from emendo_client.errors import EmendoError
from emendo_config.spaces.registry import SpaceRecord
from emendo_workers.jobs.operations import Delete, Operation, PendingDelete, PendingUpdate, Resolve
from emendo_workers.jobs.outcomes import ItemOutcome
from emendo_workers.memories.change import Change
from emendo_workers.memories.state import MemoryState
from emendo_workers.memories.three_way_merge import repeats

# Operations that need the submissions that wait for a person.
NEEDS_PENDING = (Resolve, PendingDelete, PendingUpdate)


@dataclass(slots=True)
class MemoryChanges:
    """One memory and the batch's operations on it.

    Attributes:
        waiting: operations without an outcome, oldest submission first.
        outcomes: of the other operations.
        state: as read in this round.
        listed: the memory's `embedding_space`, as read in this round.
        pending: the submissions that wait for a person, by `applied_id`; read only where an operation needs them.
        changes: decided in this round, each on the state after the one before; not committed yet.
        unchanged: outcomes of operations that change nothing. They rest on `changes`: if these are not committed, the
            operations are decided again in the next round.
        vectors: of the last text, for the spaces that need one.
        is_committed: a commit succeeded, and released the memory's lock.
    """

    memory_id: str
    waiting: list[Operation]
    outcomes: list[ItemOutcome] = field(default_factory=list)
    state: MemoryState | None = None
    listed: str = ""
    pending: dict[str, dict[str, Any]] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    unchanged: list[ItemOutcome] = field(default_factory=list)
    vectors: list[tuple[SpaceRecord, bytes]] = field(default_factory=list)
    is_committed: bool = False

    def end(self, outcome: ItemOutcome) -> None:
        """Gives a waiting operation its outcome."""
        self.waiting.remove(outcome.operation)
        self.outcomes.append(outcome)

    def end_unchanged(self) -> None:
        """Gives the operations that change nothing their outcomes, once the changes they rest on are certain."""
        for outcome in self.unchanged:
            self.end(outcome)

    def end_busy(self) -> None:
        """Gives all waiting operations to a later attempt, because another worker changes the memory."""
        for operation in list(self.waiting):
            self.end(ItemOutcome(operation, busy=True))

    def end_failed(self, error: EmendoError) -> None:
        """Ends all waiting operations with an error of the memory."""
        for operation in list(self.waiting):
            self.end(ItemOutcome(operation, error=error))

    def end_unreadable(self, error: EmendoError) -> None:
        """Ends the operations that need a content which cannot be read; an erasure needs none."""
        known = self.state is not None and bool(self.state.version)
        for operation in list(self.waiting):
            if not (known and isinstance(operation, Delete) and operation.hard and operation.deleted_before is None):
                self.end(ItemOutcome(operation, error=error))

    def drop_cancelled(self, job_ids: AbstractSet[str]) -> None:
        """Ends the waiting operations of these jobs; the others are decided again."""
        dropped = [operation for operation in self.waiting if operation.job_id in job_ids]
        for operation in dropped:
            self.end(ItemOutcome(operation, cancelled=True))
        if dropped:
            self.changes = []

    def end_changes(self, error: EmendoError) -> None:
        """Ends the operations that would change the memory; the others are decided again, without them."""
        for change in self.changes:
            self.end(ItemOutcome(change.operation, error=error))
        self.changes = []

    def delay_changes(self, error: EmendoError) -> None:
        """Adds an error to every change that was made: the jobs are tried again and find it done."""
        self.outcomes = [replace(each, error=error) if each.is_change else each for each in self.outcomes]

    def pending_for(self, operation: Operation) -> dict[str, Any] | None:
        """The submission a resolve is about, or the one that a pending change would repeat."""
        if not isinstance(operation, NEEDS_PENDING):
            return None
        decided = {each.operation.applied_id: each.conflict for each in self.changes if each.conflict}
        pending = {**self.pending, **decided}
        for change in self.changes:
            pending.pop(change.resolved, None)
        if isinstance(operation, PendingDelete | PendingUpdate):
            return next((each for each in pending.values() if repeats(operation, each)), None)
        return pending.get(operation.conflict)


def group_by_memory(operations: Iterable[Operation]) -> list[MemoryChanges]:
    """The operations by memory, oldest submission first."""
    memories: dict[str, MemoryChanges] = {}
    for operation in sorted(operations, key=lambda operation: operation.submitted):
        memories.setdefault(operation.memory_id, MemoryChanges(operation.memory_id, [])).waiting.append(operation)
    return list(memories.values())
