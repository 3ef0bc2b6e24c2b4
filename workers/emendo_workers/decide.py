"""What one operation does to one memory: pure, without Redis, without a provider.

Newest submission wins, field by field: the text, each metadata key and the deleted mark keep the value
of the newest submission that set them. An operation of which nothing applies any more is recorded as
SUPERSEDED. Every recorded change, superseded ones too, gets the next version.
"""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

from emendo_client._time import iso
from emendo_client.errors import ConflictError, EmendoError, MemoryNotFoundError, ValidationError
from emendo_client.models import Event
from emendo_workers.operations import MemoryState, Operation, Stamps


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Text and metadata of a memory at one version, from its history."""

    memory: str
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """An operation's effect: the state after it, and what the history says of it."""

    operation: Operation
    event: Event
    before: MemoryState
    after: MemoryState

    def result(self) -> dict[str, Any]:
        """The job result's item."""
        return {
            "memory_id": self.after.id,
            "event": self.event.value,
            "memory": None if self.after.is_deleted else self.after.memory,
            "previous_memory": self.before.memory or None,
            "version": self.after.version,
            "error": None,
        }

    def history_fields(self) -> list[str]:
        """The history entry: field, value, field, value …; absent values are left out."""
        before, after, operation = self.before, self.after, self.operation
        entry = {
            "version": str(after.version),
            "event": self.event.value,
            "old_memory": before.memory,
            "new_memory": "" if self.event is Event.DELETE else after.memory,
            "old_metadata": metadata_json(before.metadata) if before.version else "",
            "new_metadata": "" if self.event is Event.DELETE else metadata_json(after.metadata),
            "created_at": after.created_at,
            "updated_at": iso(operation.submitted),
            "is_deleted": "1" if after.is_deleted else "0",
            "actor_id": operation.actor_id or "",
            "role": operation.role or "",
            "job_id": operation.job_id,
            "previous_hash": before.hash,
        }
        return [part for name, value in entry.items() if value for part in (name, value)]


def text_hash(text: str) -> str:
    """SHA-256 of the text, in hexadecimal: the memory's `hash` and the embedding cache's key."""
    return hashlib.sha256(text.encode()).hexdigest()


def metadata_json(metadata: dict[str, Any]) -> str:
    """Metadata as it is stored."""
    return json.dumps(metadata, ensure_ascii=False, separators=(",", ":"))


def apply_operation(
    state: MemoryState, operation: Operation, *, snapshot: Snapshot | None, now: int, metadata_limit: int
) -> Change:
    """The change the operation makes to the state, which is not modified.

    Args:
        state: the memory as it is; version 0 when there is none.
        operation: what is asked.
        snapshot: for a restore to a version, the memory as it was then; None when there is no such version.
        now: microseconds; what expired before it is gone.
        metadata_limit: bytes of JSON the merged metadata may have.

    Raises:
        MemoryNotFoundError, ConflictError, ValidationError: nothing is changed, and nothing recorded.
    """
    if operation.op == "add":
        return _add(state, operation)
    _require_present(state, operation, now)
    if operation.expected_version is not None and operation.expected_version != state.version:
        raise ConflictError(
            f"the memory has version {state.version}, not {operation.expected_version}",
            error_code="VERSION_MISMATCH",
            details={"expected_version": operation.expected_version, "current_version": state.version},
            suggestion="read the memory again and decide anew",
        )
    after = copy.deepcopy(state)
    after.version += 1
    if operation.op == "update":
        event = _update(after, operation, metadata_limit)
    elif operation.op == "delete":
        event = _delete(after, operation)
    elif operation.op == "restore":
        event = _restore(after, operation, snapshot)
    else:
        raise ValidationError(f"unknown operation {operation.op!r}", error_code="UNKNOWN_OPERATION")
    if event is not Event.SUPERSEDED:
        after.updated_at = max(state.updated_at, iso(operation.submitted))
    return Change(operation, event, state, after)


def _add(state: MemoryState, operation: Operation) -> Change:
    if state.version:
        raise ConflictError("a memory with this id exists", details={"current_version": state.version})
    text = operation.text or ""
    moment = iso(operation.submitted)
    after = MemoryState(
        id=state.id,
        project=operation.project,
        memory=text,
        user_id=operation.user_id or "",
        agent_id=operation.agent_id or "",
        run_id=operation.run_id or "",
        actor_id=operation.actor_id or "",
        role=operation.role or "",
        metadata=operation.metadata or {},
        hash=text_hash(text),
        version=1,
        created_at=moment,
        updated_at=moment,
        expires_at=operation.expires_at or "",
        stamps=Stamps(base=operation.submitted),
    )
    return Change(operation, Event.ADD, state, after)


def _require_present(state: MemoryState, operation: Operation, now: int) -> None:
    expired = bool(state.expires_at) and state.expires_at <= iso(now)
    if not state.version or state.project != operation.project or expired:
        raise _gone(operation, "no such memory in this project")
    if state.is_deleted and operation.op == "update" and operation.submitted > state.stamps.deleted:
        raise _gone(operation, "the memory is deleted")


def _gone(operation: Operation, message: str) -> EmendoError:
    return MemoryNotFoundError(message, details={"memory_id": operation.memory_id})


def _update(after: MemoryState, operation: Operation, metadata_limit: int) -> Event:
    stamps, submitted = after.stamps, operation.submitted
    patch = operation.metadata or {}
    fresh = [key for key in patch if submitted > stamps.of_key(key)]
    takes_text = operation.text is not None and submitted > stamps.of_text()
    asked = len(patch) + (operation.text is not None)
    applies = len(fresh) + takes_text
    if operation.on_conflict == "reject" and (applies < asked or after.is_deleted):
        raise ConflictError(
            "a newer submission changed the memory first",
            error_code="SUPERSEDED",
            details={"current_version": after.version - 1},
        )
    if asked and not applies:
        return Event.SUPERSEDED
    # On a deleted memory only submissions older than the delete come this far: they change what a restore would
    # bring back, as they would have in time, and leave the memory deleted.
    if takes_text and operation.text is not None:
        after.memory, after.hash = operation.text, text_hash(operation.text)
        stamps.text = submitted
    for key in fresh:
        stamps.metadata[key] = submitted
        if patch[key] is None:
            after.metadata.pop(key, None)
        else:
            after.metadata[key] = patch[key]
    if fresh and len(metadata_json(after.metadata).encode()) > metadata_limit:
        raise ValidationError(
            f"the merged metadata would be over {metadata_limit} bytes",
            suggestion="remove keys by setting them to None, or raise EMENDO_MAX_METADATA_BYTES",
        )
    return Event.UPDATE


def _delete(after: MemoryState, operation: Operation) -> Event:
    if operation.submitted <= after.stamps.deleted:
        return Event.SUPERSEDED
    after.is_deleted = True
    after.stamps.deleted = operation.submitted
    return Event.DELETE


def _restore(after: MemoryState, operation: Operation, snapshot: Snapshot | None) -> Event:
    if operation.version is not None and snapshot is None:
        raise ValidationError(
            f"the memory has no version {operation.version}",
            error_code="NO_SUCH_VERSION",
            details={"current_version": after.version - 1},
            suggestion="history(memory_id) lists the versions there are",
        )
    applies = operation.submitted > after.stamps.deleted
    if applies:
        after.is_deleted = False
        after.stamps.deleted = operation.submitted
    if snapshot is not None:
        applies |= _return_to(after, operation, snapshot)
    return Event.RESTORE if applies else Event.SUPERSEDED


def _return_to(after: MemoryState, operation: Operation, snapshot: Snapshot) -> bool:
    """Sets text and every metadata key to the snapshot's, where no newer submission set them; False when all are."""
    patch: dict[str, Any] = dict.fromkeys(after.metadata)
    patch.update(snapshot.metadata)
    as_update = replace(operation, text=snapshot.memory, metadata=patch, on_conflict="last_write_wins")
    event = _update(after, as_update, metadata_limit=1 << 30)
    after.stamps.base = max(after.stamps.base, operation.submitted)  # keys that are not there were set back, too
    return event is Event.UPDATE
