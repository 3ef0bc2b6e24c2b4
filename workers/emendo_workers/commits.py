"""What a commit writes: the hash's fields, the history entries, the applied marks."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

from emendo_client.records import expires_ms, metadata_tags
from emendo_config.compact import compact_json
from emendo_config.registry import SpaceRecord, newest_listed
from emendo_config.spaces import VECTOR_PREFIX
from emendo_workers import scripts
from emendo_workers.decide import Change
from emendo_workers.operations import Operation
from emendo_workers.services import Services
from emendo_workers.state import (
    SPACE_FIELD,
    MemoryState,
    Stamps,
    is_same_metadata,
    listed_spaces,
    metadata_json,
    spaces_value,
)

# Vectors of one text by space, each in its space's datatype.
Vectors = Sequence[tuple[SpaceRecord, bytes]]


class Spaces(NamedTuple):
    """The memory's `embedding_space` before, and the spaces there are."""

    listed: str
    registered: Sequence[SpaceRecord]


def commit_command(
    services: Services, changes: Sequence[Change], vectors: Vectors, token: str, *, spaces: Spaces
) -> scripts.Command:
    """The commit of one memory's changes, decided one upon the other.

    Args:
        services: keys, settings.
        changes: at least one, oldest first.
        vectors: of the remaining text, in the spaces' form; of a space that is missing here the stored one is kept
            when the text is the same, and removed when it is not.
        token: the memory lock's.
        spaces: what it was decided with.
    """
    keys, before, after = services.keys, changes[0].before, changes[-1].after
    horizon = changes[-1].operation.submitted - services.settings.job_ttl * 1_000_000
    # Of what is erased nothing stays that could be left as it is.
    fields, removed = _hash_fields(MemoryState(after.id) if after.erased else before, after, horizon)
    if not after.erased:
        for space, vector in vectors:
            fields += [space.field, vector]
        named, dropped = _space_fields(changes, vectors, spaces)
        fields += named
        removed += dropped
    memory_id = after.id
    return scripts.commit(
        keys.memory(memory_id),
        keys.history(memory_id),
        keys.lock(memory_id),
        keys.conflict(memory_id),
        [keys.applied(memory_id, change.operation.mark) for change in changes],
        based_on=before.version,
        spaces=spaces.listed,
        token=token,
        ttl=services.settings.job_ttl,
        fields=fields,
        removed=removed,
        changes=[(_applied(change), change.history_fields()) for change in changes],
        disputed=[
            part
            for change in changes
            if change.conflict is not None and not after.erased
            for part in (change.operation.mark, compact_json(change.conflict))
        ],
        resolved=[change.resolved for change in changes if change.resolved],
        erase=after.erased,
    )


def listed_after(changes: Sequence[Change], vectors: Vectors, spaces: Spaces) -> frozenset[str]:
    """The spaces whose vectors are of the remaining text, once these changes and vectors are written."""
    written = frozenset(space.name for space, _ in vectors)
    if changes[-1].after.hash != changes[0].before.hash:
        return written
    listed = listed_spaces(spaces.listed)
    return written | (listed & {space.name for space in spaces.registered}) if written else listed


def _space_fields(changes: Sequence[Change], vectors: Vectors, spaces: Spaces) -> tuple[list[Any], list[str]]:
    """Fields to set and fields to remove when other spaces are listed than before; mostly nothing."""
    if len(vectors) == 1 and vectors[0][0].name == spaces.listed:
        return [], []
    listed = listed_after(changes, vectors, spaces)
    value = spaces_value(listed)
    if value == spaces.listed:
        return [], []
    removed = [f"{VECTOR_PREFIX}{name}" for name in listed_spaces(spaces.listed) - listed]
    if not value:
        return [], [*removed, SPACE_FIELD]
    newest = newest_listed(spaces.registered, listed)
    return [SPACE_FIELD, value, *(("embedding_model", newest.space.model) if newest else ())], removed


# Ends the event of an applied mark whose submission left something for a person to decide.
_DISPUTED = "+conflict"


def _applied(change: Change) -> str:
    disputed = "" if change.conflict is None else _DISPUTED
    return f"{change.event}{disputed}:{change.after.version}"


def applied_result(operation: Operation, applied: str) -> dict[str, Any]:
    """The result item of an operation that was applied before, from its mark (`<event>[+conflict]:<version>`)."""
    event, _, version = applied.partition(":")
    item: dict[str, Any] = {
        "memory_id": operation.memory_id,
        "event": event.removesuffix(_DISPUTED),
        "version": int(version),
        "error": None,
    }
    if event.endswith(_DISPUTED):
        item["conflict_id"] = f"{operation.memory_id}:{operation.mark}"
    if operation.op == "resolve":
        item["resolved"] = f"{operation.memory_id}:{operation.conflict}"
    return item


# Fields that are stored as they are.
_PLAIN = (
    "id",
    "project",
    "memory",
    "user_id",
    "agent_id",
    "run_id",
    "actor_id",
    "role",
    "hash",
    "created_at",
    "updated_at",
    "expires_at",
)
_plain_values = operator.attrgetter(*_PLAIN)


def _hash_fields(before: MemoryState, after: MemoryState, horizon: int) -> tuple[list[Any], list[str]]:
    """Fields to set and fields to remove; only what differs, since every written field costs."""
    changed: list[Any] = []
    removed: list[str] = []
    pairs = zip(_PLAIN, _plain_values(before), _plain_values(after), strict=True)
    differing = [(name, new) for name, old, new in pairs if old != new or not before.version]
    for name, value in differing + _derived(before, after, horizon):
        if value:
            changed += (name, value)
        elif before.version:
            removed.append(name)
    return changed, removed


def _derived(before: MemoryState, after: MemoryState, horizon: int) -> list[tuple[str, str]]:
    """Those of the fields made from others whose sources differ; what is empty is to be removed."""
    is_new = not before.version
    fields = [
        ("version", str(after.version)),
        ("stamps", _pruned(after, horizon).to_json()),
    ]
    if is_new or after.erased or not is_same_metadata(after.metadata, before.metadata):
        fields += [
            ("metadata", "" if after.erased else metadata_json(after.metadata)),
            ("metadata_tags", metadata_tags(after.metadata)),
        ]
    if is_new or after.expires_at != before.expires_at:
        fields.append(("expires_ms", expires_ms(after.expires_at)))
    if is_new or after.is_deleted or before.is_deleted:
        shown = after.is_deleted and not after.erased
        fields += [
            ("is_deleted", "1" if after.is_deleted else "0"),
            ("deleted_ms", str(after.stamps.deleted // 1_000) if shown else ""),
        ]
    if after.erased:
        fields.append(("erased", "1"))
    return fields


def _pruned(after: MemoryState, horizon: int) -> Stamps:
    """Without those of keys that were removed long ago: the map is as large as the metadata and recent edits.

    A job that waits, or a dead letter that is replayed, may be older than the horizon: what is there is never its to
    overwrite. A key that was removed that long ago it may bring back.
    """
    stamps = after.stamps
    if all(stamp > horizon for stamp in stamps.metadata.values()):
        return stamps
    kept = {key: stamp for key, stamp in stamps.metadata.items() if stamp > horizon or key in after.metadata}
    return Stamps(stamps.base, stamps.text, stamps.deleted, kept)
