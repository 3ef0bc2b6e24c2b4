"""A decided change of one memory, with its history entry, its applied key and its item in the job's result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from emendo_client.models import Event
from emendo_client.times import iso
from emendo_config.store.formats import Applied, applied_value
from emendo_config.store.memory_fields import COMMIT_FIELD
from emendo_workers.jobs.operations import Authored, Operation, Plannable, Resolve
from emendo_workers.memories.state import MemoryState, is_same_metadata, metadata_json


# Not frozen: every job makes one.
@dataclass(slots=True)
class Change:
    """An operation's effect: the state before and after it, and the event.

    Attributes:
        conflict: the part of the operation that waits for a person.
        resolved: the `applied_id` of the submission that waits no longer.
        moment: when it was submitted, in real time (microseconds). Submission times only rise, so they are ahead of it
            after the clock was set back.
    """

    operation: Operation
    event: Event
    before: MemoryState
    after: MemoryState
    conflict: dict[str, Any] | None = None
    resolved: str = ""
    moment: int = 0

    @property
    def applied_value(self) -> str:
        """The value of the applied key."""
        return applied_value(self.event.value, self.after.version, is_disputed=self.conflict is not None)

    def result(self) -> dict[str, Any]:
        """The job result's item."""
        return _result(self.operation, self.event.value, self.after.version, is_disputed=self.conflict is not None)

    def history_fields(self) -> list[str]:
        """The history entry: field, value, field, value …; absent values are left out.

        It has one state: the one after the change, or the one that a DELETE or EXPIRE hides. The state before is in
        the entry before.
        """
        before, after, operation = self.before, self.after, self.operation
        is_same = is_same_metadata(after.metadata, before.metadata)
        if self.event in (Event.DELETE, Event.EXPIRE):
            side, text, metadata = "old", before.memory, before.stored_metadata
        else:
            side, text = "new", after.memory
            metadata = before.stored_metadata if is_same else metadata_json(after.metadata)
        fields = [
            *("version", str(after.version)),
            *("event", self.event.value),
            *("created_at", after.created_at),
            *("updated_at", iso(self.moment)),
            *("is_deleted", "1" if after.is_deleted else "0"),
            *("job_id", operation.job_id),
        ]
        for name, value in (
            (f"{side}_memory", text),
            (f"{side}_metadata", metadata),
            ("submitted_at", iso(operation.submitted) if operation.submitted > self.moment else ""),
            ("item", "" if operation.item is None else str(operation.item)),
            ("previous_hash", before.hash),
            (COMMIT_FIELD, after.commit_id),
            *_origin(operation),
        ):
            if value:
                fields += (name, value)
        return fields


def _origin(operation: Operation) -> tuple[tuple[str, str | None], ...]:
    """The author of the operation, and why a chat model asked for it."""
    if isinstance(operation, Plannable):
        return (
            ("actor_id", operation.actor_id),
            ("role", operation.role),
            ("reason", operation.reason),
            ("source", operation.source),
            ("prompt_version", operation.prompt),
        )
    if isinstance(operation, Authored):
        return ("actor_id", operation.actor_id), ("role", operation.role)
    return ()


def applied_result(operation: Operation, applied: Applied) -> dict[str, Any]:
    """The job result's item of an operation that was applied before."""
    return _result(operation, applied.event, applied.version, is_disputed=applied.is_disputed)


def _result(operation: Operation, event: str, version: int, *, is_disputed: bool) -> dict[str, Any]:
    """The item, without any text: only the history has that."""
    item = {"memory_id": operation.memory_id, "event": event, "version": version, "error": None}
    if is_disputed:
        item["conflict_id"] = operation.conflict_id
    if isinstance(operation, Resolve):
        item["resolved"] = operation.resolved_id
    return item
