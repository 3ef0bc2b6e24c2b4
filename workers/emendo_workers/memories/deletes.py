"""Deletes, erasures, expiries and restores of one memory, and changes that wait for a person. Pure."""

from __future__ import annotations

from typing import Any

from emendo_client.errors import ValidationError
from emendo_client.models import Event
from emendo_client.times import iso
from emendo_config.error_codes import ErrorCode
from emendo_workers.jobs.operations import Delete, PendingDelete, PendingUpdate, Restore
from emendo_workers.memories.change import Change
from emendo_workers.memories.field_writes import write_newest
from emendo_workers.memories.preconditions import is_expired
from emendo_workers.memories.state import MemoryState, Snapshot, WriteTimes
from emendo_workers.memories.three_way_merge import pending_document


def apply_delete(change: Change, operation: Delete, now: int) -> Change | None:
    """Hides the memory or erases it; None when it was restored before a purge came to it."""
    if operation.deleted_before is not None and not _was_gone(change.after, operation.deleted_before, now):
        return None
    if not operation.hard:
        return hide(change)
    change.event = Event.DELETE
    # All the history may know of it, and all the commit must know.
    change.before = MemoryState(change.before.id, version=change.before.version, commit_id=change.before.commit_id)
    change.after = _tombstone(change.after, operation)
    return change


def hide(change: Change) -> Change:
    """Marks the memory as deleted, unless a newer submission deleted or restored it."""
    after, submitted = change.after, change.operation.submitted
    if submitted <= after.write_times.deleted:
        change.event = Event.SUPERSEDED
        return change
    after.is_deleted = True
    after.write_times.deleted = submitted
    change.event = Event.DELETE
    return change


def apply_pending(
    change: Change, operation: PendingDelete | PendingUpdate, pending: dict[str, Any] | None
) -> Change | None:
    """Leaves a change for a person to decide; None when the same one waits already."""
    if pending is not None:
        return None
    change.event = Event.SUPERSEDED
    change.conflict = pending_document(change.before, operation)
    return change


def apply_expire(change: Change, now: int) -> Change | None:
    """Marks the memory as deleted because its time is over; None when it is not, or the mark is there."""
    after = change.after
    if after.is_deleted or not is_expired(after, now):
        return None
    after.is_deleted = True
    after.write_times.deleted = max(after.write_times.deleted, change.operation.submitted)
    change.event = Event.EXPIRE
    return change


def apply_restore(change: Change, operation: Restore, snapshot: Snapshot | None, now: int) -> Change:
    """Brings the memory back, and with a version also the content of that version.

    Raises:
        ValidationError: (NO_SUCH_VERSION, VERSION_TRIMMED) the history has no such version, or no longer has it.
    """
    after = change.after
    if operation.version is not None and snapshot is None and operation.version < after.version:
        raise ValidationError(
            f"the history no longer has version {operation.version}",
            error_code=ErrorCode.VERSION_TRIMMED,
            details={"current_version": after.version - 1},
            suggestion="history(memory_id) lists the versions there are; EMENDO_HISTORY_ENTRIES says how many are kept",
        )
    if operation.version is not None and snapshot is None:
        raise ValidationError(
            f"the memory has no version {operation.version}",
            error_code=ErrorCode.NO_SUCH_VERSION,
            details={"current_version": after.version - 1},
            suggestion="history(memory_id) lists the versions there are",
        )
    applies = operation.submitted > after.write_times.deleted
    if applies:
        after.is_deleted = False
        after.write_times.deleted = operation.submitted
        if is_expired(after, now):
            after.expires_at = ""  # otherwise the memory would be gone again at once
    if snapshot is not None:
        applies |= _return_to(after, operation, snapshot)
    change.event = Event.RESTORE if applies else Event.SUPERSEDED
    return change


def _was_gone(state: MemoryState, moment: int, now: int) -> bool:
    """True when the memory was deleted or had expired before the moment, and is not back."""
    deleted = state.is_deleted and state.deleted_at < moment
    return deleted or (is_expired(state, now) and state.expires_at < iso(moment))


def _tombstone(after: MemoryState, operation: Delete) -> MemoryState:
    """The state after an erasure: there was a memory; nothing says its content or its user."""
    return MemoryState(
        id=after.id,
        project=after.project,
        version=after.version,
        created_at=after.created_at,
        updated_at=after.updated_at,
        is_deleted=True,
        write_times=WriteTimes(base=operation.submitted, deleted=operation.submitted),
        erased=True,
    )


def _return_to(after: MemoryState, operation: Restore, snapshot: Snapshot) -> bool:
    """Sets text and every metadata key to the snapshot's where no newer submission set them; False when all are."""
    patch: dict[str, Any] = dict.fromkeys(after.metadata)
    patch.update(snapshot.metadata)
    event = write_newest(after, snapshot.memory, patch, operation.submitted, metadata_limit=None)
    # A key that is absent in both was set back, too: no older submission may add it.
    after.write_times.base = max(after.write_times.base, operation.submitted)
    return event is Event.UPDATE
