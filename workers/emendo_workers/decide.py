"""What one operation does to one memory: pure, without Redis, without a provider.

Newest submission wins, field by field: the text, each metadata key and the deleted mark keep the value
of the newest submission that set them. An operation of which nothing applies any more is recorded as
SUPERSEDED. Every recorded change, superseded ones too, gets the next version.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from emendo_client._time import iso
from emendo_client.errors import ConflictError, EmendoError, MemoryNotFoundError, ValidationError
from emendo_client.models import Event
from emendo_client.reads import no_conflict
from emendo_client.records import text_hash
from emendo_workers.operations import Operation
from emendo_workers.reconcile import Merges, conflict_document, held_delete, is_contested, is_delete, reconcile
from emendo_workers.state import MemoryState, Snapshot, Stamps, is_same_metadata, metadata_json

MERGING = ("merge", "manual")


@dataclass(frozen=True, slots=True)
class Change:
    """An operation's effect: the state after it, and what the history says of it.

    Attributes:
        conflict: what of the operation waits for a person.
        resolved: the mark of the submission that waits no more.
    """

    operation: Operation
    event: Event
    before: MemoryState
    after: MemoryState
    conflict: dict[str, Any] | None = None
    resolved: str = ""

    def result(self) -> dict[str, Any]:
        """The job result's item, without any text: that stands in the history alone."""
        item = {
            "memory_id": self.after.id,
            "event": self.event.value,
            "version": self.after.version,
            "error": None,
        }
        if self.conflict is not None:
            item["conflict_id"] = f"{self.after.id}:{self.operation.mark}"
        if self.resolved:
            item["resolved"] = f"{self.after.id}:{self.resolved}"
        return item

    def history_fields(self) -> list[str]:
        """The history entry: field, value, field, value …; absent values are left out."""
        before, after, operation = self.before, self.after, self.operation
        gone = self.event in (Event.DELETE, Event.EXPIRE)
        old_metadata = before.stored_metadata
        new_metadata = (
            old_metadata if is_same_metadata(after.metadata, before.metadata) else metadata_json(after.metadata)
        )
        fields = [
            *("version", str(after.version)),
            *("event", self.event.value),
            *("created_at", after.created_at),
            *("updated_at", iso(operation.submitted)),
            *("is_deleted", "1" if after.is_deleted else "0"),
            *("job_id", operation.job_id),
        ]
        for name, value in (
            ("old_memory", before.memory),
            ("new_memory", "" if gone else after.memory),
            ("old_metadata", old_metadata if before.version else ""),
            ("new_metadata", "" if gone else new_metadata),
            ("actor_id", operation.actor_id),
            ("role", operation.role),
            ("item", "" if operation.item is None else str(operation.item)),
            ("previous_hash", before.hash),
            ("reason", operation.reason),
            ("source", operation.source),
            ("prompt_version", operation.prompt),
        ):
            if value:
                fields += (name, value)
        return fields


def apply_operation(
    state: MemoryState,
    operation: Operation,
    *,
    snapshot: Snapshot | None,
    now: int,
    metadata_limit: int,
    queued: dict[str, Any] | None = None,
    merges: Merges | None = None,
) -> Change | None:
    """The change the operation makes to the state, which is not modified; None when there is nothing to do.

    Args:
        state: the memory as it is; version 0 when there is none.
        operation: what is asked.
        snapshot: for a restore to a version, the memory as it was then; for an update that merges, the base
            (see `base_version`). None when there is no such version.
        now: microseconds; what expired before it is gone.
        metadata_limit: bytes of JSON the merged metadata may have.
        queued: for a resolve, the submission that waits, for a hold the delete that does; None when none does.
        merges: texts merged so far; None when there is nobody to merge them.

    Raises:
        MemoryNotFoundError, ConflictError, ValidationError: nothing is changed, and nothing recorded.
        NeedsMerge: two texts must be merged first.
    """
    if operation.op == "add":
        return _add(state, operation)
    _require_present(state, operation, queued, now)
    if state.erased:
        return None
    _require_version(state, operation)
    if operation.op == "none":
        return None
    after = state.copy()
    after.version += 1
    change = Change(operation, Event.UPDATE, state, after)
    if operation.op == "update" and base_version(state, operation) is not None:
        decided: Change | None = _merge(change, snapshot, merges, metadata_limit)
    elif operation.op == "update":
        decided = Change(operation, _update(after, operation, metadata_limit), state, after)
    elif operation.op == "delete":
        decided = _delete(change, now)
    elif operation.op == "hold":
        decided = _hold(change, queued)
    elif operation.op == "restore":
        decided = replace(change, event=_restore(after, operation, snapshot, now))
    elif operation.op == "expire":
        decided = _expire(change, now)
    elif operation.op == "resolve":
        decided = _resolve(change, queued, now, metadata_limit)
    else:
        raise ValidationError(f"unknown operation {operation.op!r}", error_code="UNKNOWN_OPERATION")
    if decided is not None and decided.event is not Event.SUPERSEDED:
        decided.after.updated_at = max(state.updated_at, iso(operation.submitted))
    return decided


def base_version(state: MemoryState, operation: Operation) -> int | None:
    """The version an update must be merged from, 0 for the newest one older than it; None when it just applies."""
    if operation.op != "update" or operation.on_conflict not in MERGING:
        return None
    if operation.expected_version not in (None, state.version):
        return operation.expected_version
    return 0 if is_contested(state, operation) else None


def version_mismatch(operation: Operation, current: int) -> ConflictError:
    """The error for an expected version that is not the memory's."""
    return ConflictError(
        f"the memory has version {current}, not {operation.expected_version}",
        error_code="VERSION_MISMATCH",
        details={"expected_version": operation.expected_version, "current_version": current},
        suggestion="read the memory again and decide anew",
    )


def _require_version(state: MemoryState, operation: Operation) -> None:
    if operation.expected_version not in (None, state.version) and operation.on_conflict not in MERGING:
        raise version_mismatch(operation, state.version)


def _superseded(current: int) -> ConflictError:
    return ConflictError(
        "a newer submission changed the memory first",
        error_code="SUPERSEDED",
        details={"current_version": current},
    )


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


def _require_present(state: MemoryState, operation: Operation, queued: dict[str, Any] | None, now: int) -> None:
    if not state.version or state.project != operation.project:
        raise _gone(operation, "no such memory in this project")
    if state.erased and not operation.hard:  # erasing it again asks for what is so already
        raise _gone(operation, "the memory was erased", "MEMORY_ERASED")
    asked = _asked(operation, queued)
    needs_it = asked in ("update", "hold") or operation.decision is not None
    if _is_expired(state, now) and (needs_it or (asked == "delete" and not operation.hard)):
        raise _gone(operation, "the memory has expired")
    if state.is_deleted and needs_it and operation.submitted > state.stamps.deleted:
        raise _gone(operation, "the memory is deleted")


def _asked(operation: Operation, queued: dict[str, Any] | None) -> str:
    """What the operation asks for; a person's decision asks for what waited, or for nothing."""
    if operation.op != "resolve":
        return operation.op
    if queued is None or operation.choice == "theirs":
        return "none"
    return "delete" if is_delete(queued) else "update"


def _is_expired(state: MemoryState, now: int) -> bool:
    return bool(state.expires_at) and state.expires_at <= iso(now)


def _was_gone(state: MemoryState, moment: int, now: int) -> bool:
    """True when the memory was deleted or had expired before the moment, and is not back."""
    deleted = state.is_deleted and state.stamps.deleted < moment
    return deleted or (_is_expired(state, now) and state.expires_at < iso(moment))


def _gone(operation: Operation, message: str, code: str | None = None) -> EmendoError:
    return MemoryNotFoundError(message, error_code=code, details={"memory_id": operation.memory_id})


def _update(after: MemoryState, operation: Operation, metadata_limit: int) -> Event:
    stamps, submitted = after.stamps, operation.submitted
    patch = operation.metadata or {}
    fresh = {key: value for key, value in patch.items() if submitted > stamps.of_key(key)}
    takes_text = operation.text is not None and submitted > stamps.of_text()
    asked = len(patch) + (operation.text is not None)
    applies = len(fresh) + takes_text
    if operation.on_conflict == "reject" and (applies < asked or after.is_deleted):
        raise _superseded(after.version - 1)
    if asked and not applies:
        return Event.SUPERSEDED
    # On a deleted memory only submissions older than the delete come this far: they change what a restore would
    # bring back, as they would have in time, and leave the memory deleted.
    _set(after, operation.text if takes_text else None, fresh, submitted, metadata_limit)
    return Event.UPDATE


def _set(after: MemoryState, text: str | None, metadata: dict[str, Any], submitted: int, metadata_limit: int) -> None:
    """Sets text and metadata keys (None removes one), and stamps them with the submission."""
    stamps = after.stamps
    if text is not None:
        after.memory, after.hash = text, text_hash(text)
        stamps.text = max(stamps.text, submitted)
    for key, value in metadata.items():
        stamps.metadata[key] = max(stamps.of_key(key), submitted)
        if value is None:
            after.metadata.pop(key, None)
        else:
            after.metadata[key] = value
    if metadata and len(metadata_json(after.metadata).encode()) > metadata_limit:
        raise ValidationError(
            f"the merged metadata would be over {metadata_limit} bytes",
            suggestion="remove keys by setting them to None, or raise EMENDO_MAX_METADATA_BYTES",
        )


def _merge(change: Change, base: Snapshot | None, merges: Merges | None, metadata_limit: int) -> Change:
    """An update that others were faster than, brought together with what they did."""
    state, after, operation = change.before, change.after, change.operation
    if base is None:
        known = operation.expected_version is not None
        raise version_mismatch(operation, state.version) if known else _superseded(state.version)
    done = reconcile(base, state, operation, merges)
    applies = done.text is not None or bool(done.metadata)
    _set(after, done.text, done.metadata, operation.submitted, metadata_limit)
    conflict = conflict_document(base, state, operation, done) if done.is_disputed else None
    return replace(change, event=Event.UPDATE if applies else Event.SUPERSEDED, conflict=conflict)


def _hold(change: Change, queued: dict[str, Any] | None) -> Change | None:
    """A delete that waits for a person; once is enough, however many messages ask for it."""
    if queued is not None:
        return None
    return replace(change, event=Event.SUPERSEDED, conflict=held_delete(change.before, change.operation))


def _resolve(change: Change, queued: dict[str, Any] | None, now: int, metadata_limit: int) -> Change | None:
    """A person's decision on a submission that waits, recorded with that person as its actor."""
    operation, after = change.operation, change.after
    if queued is None:
        raise no_conflict(f"{operation.memory_id}:{operation.conflict}")
    change = replace(change, resolved=operation.conflict or "")
    if operation.choice == "theirs":
        return replace(change, event=Event.SUPERSEDED)
    if is_delete(queued):
        if operation.choice == "merged":
            raise _nothing_to_merge()
        return _delete(change, now)
    text, metadata = operation.text, operation.metadata
    if operation.choice == "ours":
        text, metadata = queued.get("memory"), queued.get("metadata")
    return replace(change, event=_update(after, replace(operation, text=text, metadata=metadata), metadata_limit))


def _nothing_to_merge() -> ValidationError:
    return ValidationError(
        "what waits is a delete, with which nothing can be merged",
        error_code="NOTHING_TO_MERGE",
        suggestion="choose 'ours' to delete the memory, or 'theirs' to keep it and then update it",
    )


def _delete(change: Change, now: int) -> Change | None:
    operation, after = change.operation, change.after
    if operation.deleted_before is not None and not _was_gone(after, operation.deleted_before, now):
        return None  # restored meanwhile
    if operation.hard:
        return replace(change, event=Event.DELETE, before=_blank(change.before), after=_erased(after, operation))
    if operation.submitted <= after.stamps.deleted:
        return replace(change, event=Event.SUPERSEDED)
    after.is_deleted = True
    after.stamps.deleted = operation.submitted
    return replace(change, event=Event.DELETE)


def _erased(after: MemoryState, operation: Operation) -> MemoryState:
    """The tombstone: that there was a memory, and nothing of what it said or whose it was."""
    return MemoryState(
        id=after.id,
        project=after.project,
        version=after.version,
        created_at=after.created_at,
        updated_at=after.updated_at,
        is_deleted=True,
        stamps=Stamps(base=operation.submitted, deleted=operation.submitted),
        erased=True,
    )


def _blank(before: MemoryState) -> MemoryState:
    """The state before an erasure, as far as its history entry may know it."""
    return MemoryState(id=before.id, version=before.version)


def _expire(change: Change, now: int) -> Change | None:
    after = change.after
    if after.is_deleted or not _is_expired(after, now):
        return None
    after.is_deleted = True
    after.stamps.deleted = max(after.stamps.deleted, change.operation.submitted)
    return replace(change, event=Event.EXPIRE)


def _restore(after: MemoryState, operation: Operation, snapshot: Snapshot | None, now: int) -> Event:
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
        if _is_expired(after, now):
            after.expires_at = ""  # it would be gone again at once
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
