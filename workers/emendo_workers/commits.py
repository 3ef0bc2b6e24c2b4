"""What a commit writes: the hash's fields, the history entries, the applied marks."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from emendo_client.records import expires_ms, metadata_tags
from emendo_config.compact import compact_json
from emendo_workers import scripts
from emendo_workers.decide import Change
from emendo_workers.operations import Operation
from emendo_workers.services import Services
from emendo_workers.state import SPACE_FIELD, MemoryState, Stamps, metadata_json


def commit_command(
    services: Services, changes: Sequence[Change], vector: bytes | None, token: str, *, names_space: bool
) -> scripts.Command:
    """The commit of one memory's changes, decided one upon the other.

    Args:
        services: keys, settings.
        changes: at least one, oldest first.
        vector: of the remaining text, float32[dimensions]; None when the stored one is still right.
        token: the memory lock's.
        names_space: False when the stored vector is of the same space, whose name stands beside it.
    """
    keys, before, after = services.keys, changes[0].before, changes[-1].after
    horizon = changes[-1].operation.submitted - services.settings.job_ttl * 1_000_000
    # Of what is erased nothing stays that could be left as it is.
    fields, removed = _hash_fields(MemoryState(after.id) if after.erased else before, after, horizon)
    if vector is not None:
        space = services.settings.space
        fields += [space.field, vector]
        if names_space:
            fields += ["embedding_model", space.model, SPACE_FIELD, space.name]
    memory_id = after.id
    return scripts.commit(
        keys.memory(memory_id),
        keys.history(memory_id),
        keys.lock(memory_id),
        keys.conflict(memory_id),
        [keys.applied(memory_id, change.operation.mark) for change in changes],
        based_on=before.version,
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
        ("stamps", _pruned(after.stamps, horizon).to_json()),
    ]
    if is_new or after.metadata != before.metadata or after.erased:
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


def _pruned(stamps: Stamps, horizon: int) -> Stamps:
    """Without what no submission can be older than any more: the map stays as small as recent edits."""
    recent = {key: stamp for key, stamp in stamps.metadata.items() if stamp > horizon}
    return Stamps(stamps.base, stamps.text, stamps.deleted, recent)
