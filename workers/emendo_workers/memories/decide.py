"""The effect of one operation on one memory: pure, without Redis, without a provider.

The newest submission wins, field by field. So the text, each metadata key and the deleted mark keep the newest
submission's value. An operation that comes too late for all its fields is recorded as SUPERSEDED. Every recorded change
gets the next version, a superseded one too.
"""

from __future__ import annotations

from typing import Any

from emendo_client.errors import ConflictError, ValidationError
from emendo_client.exchanges.conflicts import no_conflict
from emendo_client.models import Event
from emendo_client.records.derived_fields import text_hash
from emendo_client.requests.validation import past_expiry
from emendo_client.times import iso
from emendo_config.error_codes import ErrorCode
from emendo_workers.jobs.operations import (
    Add,
    Delete,
    Expire,
    Noop,
    Operation,
    PendingDelete,
    PendingUpdate,
    Resolve,
    Restore,
    Update,
)
from emendo_workers.memories.change import Change
from emendo_workers.memories.deletes import apply_delete, apply_expire, apply_pending, apply_restore, hide
from emendo_workers.memories.field_writes import set_fields, write_newest
from emendo_workers.memories.preconditions import (
    MERGING,
    require_owner,
    require_present,
    require_version,
    superseded,
    version_mismatch,
)
from emendo_workers.memories.state import MemoryState, Snapshot, WriteTimes
from emendo_workers.memories.three_way_merge import (
    MergedTexts,
    conflict_document,
    is_contested,
    is_delete,
    three_way_merge,
)


def apply_operation(
    state: MemoryState,
    operation: Operation,
    *,
    snapshot: Snapshot | None,
    now: int,
    metadata_limit: int,
    shared_scopes: bool = False,
    pending: dict[str, Any] | None = None,
    merged_texts: MergedTexts | None = None,
) -> Change | None:
    """The change the operation makes to the state, which is not modified; None when there is nothing to do.

    Args:
        state: the memory as it is; version 0 when there is none.
        operation: the operation.
        snapshot: for a restore to a version, the memory at that version; for an update that merges, the base
            (see `base_version`). None when there is no such version.
        now: microseconds; a memory that expired before is gone, and no change is later.
        metadata_limit: bytes of JSON the merged metadata may have.
        shared_scopes: inference may change memories of other owners in its scope.
        pending: for a resolve, the submission it is about; for a pending change, the same one if it waits already.
        merged_texts: texts merged so far; None when nobody can merge them.

    Raises:
        MemoryNotFoundError, ConflictError, ValidationError: nothing is changed, and nothing recorded.
        NeedsMerge: two texts must be merged first.
    """
    if isinstance(operation, Add):
        return _add(state, operation, now)
    require_present(state, operation, pending, now)
    if state.erased:
        return None
    if not shared_scopes:
        require_owner(state, operation)
    require_version(state, operation)
    if isinstance(operation, Noop):
        return None
    after = state.copy()
    after.version += 1
    change = Change(operation, Event.UPDATE, state, after, moment=min(operation.submitted, now))
    decided: Change | None
    match operation:
        case Update():
            decided = _update(change, operation, snapshot, merged_texts, metadata_limit)
        case Delete():
            decided = apply_delete(change, operation, now)
        case PendingDelete() | PendingUpdate():
            decided = apply_pending(change, operation, pending)
        case Restore():
            decided = apply_restore(change, operation, snapshot, now)
        case Expire():
            decided = apply_expire(change, now)
        case Resolve():
            decided = _resolve(change, operation, pending, metadata_limit)
        case _:
            raise ValidationError(
                f"an operation of kind {type(operation).__name__} changes no memory",
                error_code=ErrorCode.UNKNOWN_OPERATION,
            )
    if decided is not None and decided.event is not Event.SUPERSEDED:
        decided.after.updated_at = max(state.updated_at, iso(decided.moment))
    return decided


def base_version(state: MemoryState, operation: Operation) -> int | None:
    """The version an update must be merged from; 0: the newest one older than the update; None: no merge is needed."""
    if not isinstance(operation, Update) or operation.on_conflict not in MERGING:
        return None
    if operation.expected_version not in (None, state.version):
        return operation.expected_version
    return 0 if is_contested(state, operation) else None


def _add(state: MemoryState, operation: Add, now: int) -> Change:
    if state.version:
        raise ConflictError("a memory with this id exists", details={"current_version": state.version})
    text = operation.text or ""
    submitted = min(operation.submitted, now)
    moment = iso(submitted)
    if operation.expires_at and operation.expires_at <= moment:
        raise past_expiry()  # a single add was refused by `accept`; an item of a batch fails here, alone
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
        write_times=WriteTimes(base=operation.submitted),
    )
    return Change(operation, Event.ADD, state, after, moment=submitted)


def _update(
    change: Change, operation: Update, base: Snapshot | None, merged_texts: MergedTexts | None, metadata_limit: int
) -> Change:
    if base_version(change.before, operation) is not None:
        return _merge(change, operation, base, merged_texts, metadata_limit)
    change.event = write_newest(
        change.after,
        operation.text,
        operation.metadata,
        operation.submitted,
        metadata_limit=metadata_limit,
        reject=operation.on_conflict == "reject",
    )
    return change


def _merge(
    change: Change, operation: Update, base: Snapshot | None, merged_texts: MergedTexts | None, metadata_limit: int
) -> Change:
    """An update that came after others, merged with what they did."""
    state = change.before
    if base is None:
        known = operation.expected_version is not None
        raise version_mismatch(operation, state.version) if known else superseded(state.version)
    merge = three_way_merge(base, state, operation, merged_texts)
    applies = merge.text is not None or bool(merge.metadata)
    set_fields(change.after, merge.text, merge.metadata, operation.submitted, metadata_limit)
    change.event = Event.UPDATE if applies else Event.SUPERSEDED
    change.conflict = conflict_document(base, state, operation, merge) if merge.is_disputed else None
    return change


def _resolve(change: Change, operation: Resolve, pending: dict[str, Any] | None, metadata_limit: int) -> Change:
    """A person's decision on a submission that waits, recorded with that person as its actor."""
    if pending is None:
        raise no_conflict(operation.resolved_id)
    change.resolved = operation.conflict
    if operation.choice == "theirs":
        change.event = Event.SUPERSEDED
        return change
    if is_delete(pending):
        if operation.choice == "merged":
            raise _nothing_to_merge()
        return hide(change)
    text, metadata = operation.text, operation.metadata
    if operation.choice == "ours":
        text, metadata = pending.get("memory"), pending.get("metadata")
    change.event = write_newest(change.after, text, metadata, operation.submitted, metadata_limit=metadata_limit)
    return change


def _nothing_to_merge() -> ValidationError:
    return ValidationError(
        "a delete waits, and nothing can be merged with it",
        error_code=ErrorCode.NOTHING_TO_MERGE,
        suggestion="choose 'ours' to delete the memory, or 'theirs' to keep it and then update it",
    )
