"""What a commit writes: the hash's fields, the history entries, the applied marks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emendo_client.records import expires_ms, metadata_tags
from emendo_workers import scripts
from emendo_workers.decide import Change, metadata_json
from emendo_workers.operations import SPACE_FIELD, MemoryState, Stamps
from emendo_workers.services import Services


def commit_command(services: Services, changes: Sequence[Change], vector: bytes | None, token: str) -> scripts.Command:
    """The commit of one memory's changes, decided one upon the other.

    Args:
        services: keys, settings.
        changes: at least one, oldest first.
        vector: of the remaining text, float32[dimensions]; None when the stored one is still right.
        token: the memory lock's.
    """
    keys, before, after = services.keys, changes[0].before, changes[-1].after
    horizon = changes[-1].operation.submitted - services.settings.job_ttl * 1_000_000
    fields, removed = _hash_fields(before, after, horizon)
    if vector is not None:
        space = services.settings.space
        fields += [space.field, vector, "embedding_model", space.model, SPACE_FIELD, space.name]
    memory_id = after.id
    return scripts.commit(
        keys.memory(memory_id),
        keys.history(memory_id),
        keys.lock(memory_id),
        [keys.applied(memory_id, change.operation.job_id) for change in changes],
        based_on=before.version,
        token=token,
        ttl=services.settings.job_ttl,
        fields=fields,
        removed=removed,
        changes=[(f"{change.event}:{change.after.version}", change.history_fields()) for change in changes],
    )


def _hash_fields(before: MemoryState, after: MemoryState, horizon: int) -> tuple[list[Any], list[str]]:
    """Fields to set and fields to remove; only what differs, since every written field is indexed again."""
    old, new = _documents(before, None), _documents(after, horizon)
    changed = [part for name, value in new.items() if value and value != old.get(name) for part in (name, value)]
    removed = [name for name, value in new.items() if not value and old.get(name)]
    return changed, removed


def _documents(state: MemoryState, horizon: int | None) -> dict[str, str]:
    if not state.version:
        return {}
    stamps = state.stamps if horizon is None else _pruned(state.stamps, horizon)
    return {
        "id": state.id,
        "project": state.project,
        "memory": state.memory,
        "user_id": state.user_id,
        "agent_id": state.agent_id,
        "run_id": state.run_id,
        "actor_id": state.actor_id,
        "role": state.role,
        "metadata": metadata_json(state.metadata),
        "metadata_tags": metadata_tags(state.metadata),
        "hash": state.hash,
        "version": str(state.version),
        "created_at": state.created_at,
        "updated_at": state.updated_at,
        "expires_at": state.expires_at,
        "expires_ms": expires_ms(state.expires_at),
        "is_deleted": "1" if state.is_deleted else "0",
        "stamps": stamps.to_json(),
    }


def _pruned(stamps: Stamps, horizon: int) -> Stamps:
    """Without what no submission can be older than any more: the map stays as small as recent edits."""
    recent = {key: stamp for key, stamp in stamps.metadata.items() if stamp > horizon}
    return Stamps(stamps.base, stamps.text, stamps.deleted, recent)
