"""When an operation is refused: its memory is missing, expired, deleted, or has another version than expected. Pure."""

from __future__ import annotations

from typing import Any

from emendo_client.errors import ConflictError, MemoryNotFoundError
from emendo_client.times import iso
from emendo_config.error_codes import ErrorCode
from emendo_workers.jobs.operations import (
    Authored,
    Delete,
    Operation,
    PendingDelete,
    PendingUpdate,
    Plannable,
    Resolve,
    Update,
    owner_of,
)
from emendo_workers.memories.state import MemoryState
from emendo_workers.memories.three_way_merge import is_delete

# Conflict modes that merge instead of refusing another version.
MERGING = ("merge", "manual")
# Need a memory that is neither deleted nor expired. A tuple: an `Update | PendingDelete | …` is made at every call.
_CHANGES = (Update, PendingDelete, PendingUpdate)
_ID = "use an id that a search, a list or a job's result of this project gave"
_RESTORE = "restore(memory_id) brings it back"


def is_expired(state: MemoryState, now: int) -> bool:
    """True when the memory's time is over at `now` (microseconds)."""
    return bool(state.expires_at) and state.expires_at <= iso(now)


def require_present(state: MemoryState, operation: Operation, pending: dict[str, Any] | None, now: int) -> None:
    """Checks that the memory exists for this operation.

    Args:
        pending: the submission a resolve is about; what that one needs is needed here.

    Raises:
        MemoryNotFoundError: it does not exist, was erased, has expired, or was deleted before the submission.
    """
    if not state.version or state.project != operation.project:
        raise _not_found(operation, "no such memory in this project", _ID)
    hard = isinstance(operation, Delete) and operation.hard
    if state.erased and not hard:  # a second erasure has nothing to do
        raise _not_found(operation, "the memory was erased", "add it anew", ErrorCode.MEMORY_ERASED)
    if isinstance(operation, Resolve):
        applies = pending is not None and operation.choice != "theirs"
        deletes = applies and is_delete(pending)
        changes = applies and not deletes
    else:
        deletes = isinstance(operation, Delete)
        changes = isinstance(operation, _CHANGES) or (
            isinstance(operation, Plannable) and operation.decision is not None
        )
    if (changes or (deletes and not hard)) and is_expired(state, now):
        raise _not_found(operation, "the memory has expired", _RESTORE)
    if changes and state.is_deleted and operation.submitted > state.write_times.deleted:
        raise _not_found(operation, "the memory is deleted", _RESTORE)


def require_owner(state: MemoryState, operation: Operation) -> None:
    """Refuses a change that inference planned of a memory of another owner than the conversation's.

    A plan of today names none: this is for plans that were stored by an earlier release, or under another setting.

    Raises:
        MemoryNotFoundError: the memory is somebody else's.
    """
    is_planned = isinstance(operation, Plannable) and operation.decision is not None
    if is_planned and owner_of(state) != owner_of(operation):
        raise _not_found(operation, "no such memory of this owner", "give the ids that the memory has")


def require_version(state: MemoryState, operation: Operation) -> None:
    """Checks the expected version, unless the operation merges.

    Raises:
        ConflictError: (VERSION_MISMATCH) the memory has another version, or one of the same number by another commit.
    """
    if not isinstance(operation, Authored) or operation.expected_version is None:
        return
    is_expected = operation.expected_commit in (None, state.commit_id)
    if operation.expected_version == state.version and is_expected:
        return
    if not (isinstance(operation, Update) and operation.on_conflict in MERGING):
        raise version_mismatch(operation, state.version)


def version_mismatch(operation: Authored, current: int) -> ConflictError:
    """The error for an expected version that is not the memory's."""
    return ConflictError(
        f"the memory has version {current}, not {operation.expected_version}",
        error_code=ErrorCode.VERSION_MISMATCH,
        details={"expected_version": operation.expected_version, "current_version": current},
        suggestion="read the memory again, then decide on its current version",
    )


def superseded(current: int) -> ConflictError:
    """The error for a submission that came too late and may not be merged."""
    return ConflictError(
        "a newer submission changed the memory first",
        error_code=ErrorCode.SUPERSEDED,
        details={"current_version": current},
        suggestion="read the memory again, then decide on its current version",
    )


def _not_found(
    operation: Operation, message: str, suggestion: str, code: ErrorCode = ErrorCode.MEMORY_NOT_FOUND
) -> MemoryNotFoundError:
    return MemoryNotFoundError(
        message, error_code=code, details={"memory_id": operation.memory_id}, suggestion=suggestion
    )
