"""The commit command: the hash's fields, the history entries, the applied keys."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from emendo_client.records.derived_fields import expires_ms, metadata_tags
from emendo_client.records.words import indexed_words
from emendo_config.json_codec import compact_json
from emendo_config.store import scripts
from emendo_config.store.formats import version_entry_id
from emendo_config.store.memory_fields import COPIED_FIELDS, WORDS_FIELD
from emendo_workers.memories.change import Change
from emendo_workers.memories.space_listing import Spaces, Vectors, space_fields
from emendo_workers.memories.state import MemoryState, WriteTimes, is_same_metadata, metadata_json
from emendo_workers.store import Store

# Removed metadata keys of one memory whose removal is remembered.
MAX_REMOVED_KEYS = 256

_copied_values = operator.attrgetter(*COPIED_FIELDS)


def commit_command(
    store: Store, changes: Sequence[Change], vectors: Vectors, token: str, *, spaces: Spaces
) -> scripts.Command:
    """The commit of one memory's changes.

    Args:
        store: keys, settings.
        changes: at least one, oldest first; each was decided on the state after the one before.
        vectors: of the last text, in the spaces' form. A space without one here keeps its stored vector when the text
            stays the same, and loses it otherwise.
        token: the memory lock's.
        spaces: as they were when the changes were decided.
    """
    keys, before, after = store.keys, changes[0].before, changes[-1].after
    horizon = changes[-1].operation.submitted - store.settings.job_ttl * 1_000_000
    # An erasure leaves only the fields that are set here, so it sets them all.
    fields, removed = hash_fields(MemoryState(after.id) if after.erased else before, after, horizon)
    if not after.erased:
        if store.settings.index_text and after.hash != before.hash:
            fields += [WORDS_FIELD, indexed_words(after.memory)]
        for space, vector in vectors:
            fields += [space.field, vector]
        named, dropped = space_fields(changes, vectors, spaces)
        fields += named
        removed += dropped
    memory_id = after.id
    return (scripts.commit.at_limit if after.erased else scripts.commit)(
        memory=keys.memory(memory_id),
        history=keys.history(memory_id),
        erased_history=keys.erased_history(memory_id),
        lock=keys.lock(memory_id),
        conflicts=keys.conflict(memory_id),
        based_on=before.version,
        based_on_commit=before.commit_id,
        spaces=spaces.listed,
        token=token,
        ttl=store.settings.job_ttl,
        erase=after.erased,
        kept_entries=store.settings.history_entries or 0,
        fields=fields,
        removed=removed,
        disputed=[
            part
            for change in changes
            if change.conflict is not None and not after.erased
            for part in (change.operation.applied_id, compact_json(change.conflict))
        ],
        resolved=[change.resolved for change in changes if change.resolved],
        changes=[
            scripts.CommittedChange(
                applied=keys.applied(memory_id, change.operation.applied_id),
                value=change.applied_value,
                entry_id=version_entry_id(change.after.version),
                entry=change.history_fields(),
            )
            for change in changes
        ],
    )


def hash_fields(before: MemoryState, after: MemoryState, horizon: int) -> tuple[list[Any], list[str]]:
    """Fields to set and fields to remove; only those that differ, since every written field costs."""
    changed: list[Any] = []
    removed: list[str] = []
    pairs = zip(COPIED_FIELDS, _copied_values(before), _copied_values(after), strict=True)
    differing = [(name, new) for name, old, new in pairs if old != new or not before.version]
    for name, value in differing + _derived(before, after, horizon):
        if value:
            changed += (name, value)
        elif before.version:
            removed.append(name)
    return changed, removed


def _derived(before: MemoryState, after: MemoryState, horizon: int) -> list[tuple[str, str]]:
    """Computed fields whose sources differ; an empty value means that the field is to be removed."""
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
            ("deleted_ms", str(after.deleted_at // 1_000) if shown else ""),
        ]
    if after.erased:
        fields.append(("erased", "1"))
    return fields


def _pruned(after: MemoryState, horizon: int) -> WriteTimes:
    """The write times without keys that were removed before the horizon, or before MAX_REMOVED_KEYS others.

    So the map stays small. A waiting job or a replayed dead letter may be older than that. It overwrites no key that is
    there, but it may bring back a key that was removed so long ago.
    """
    times = after.write_times
    if len(times.metadata) <= MAX_REMOVED_KEYS and all(written > horizon for written in times.metadata.values()):
        return times
    removed = {key: written for key, written in times.metadata.items() if key not in after.metadata}
    newest = sorted(removed, key=lambda key: removed[key])[-MAX_REMOVED_KEYS:]
    known = {*after.metadata, *(key for key in newest if removed[key] > horizon)}
    kept = {key: written for key, written in times.metadata.items() if key in known}
    return WriteTimes(times.base, times.text, times.deleted, kept)
