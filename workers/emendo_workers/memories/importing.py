"""The commands that write a memory of an export as it was: hash, history, and the effects of its recent jobs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from emendo_client.records.words import indexed_words
from emendo_client.times import microseconds_of
from emendo_config.spaces.registry import SpaceRecord, newest_listed
from emendo_config.store import scripts
from emendo_config.store.formats import applied_id, applied_value, spaces_value
from emendo_config.store.memory_fields import SPACE_FIELD, WORDS_FIELD
from emendo_config.store.pipeline import Command
from emendo_workers.memories.commit import hash_fields
from emendo_workers.memories.space_listing import Vectors
from emendo_workers.memories.state import MemoryState
from emendo_workers.store import Store

# Entries of a history that one script writes.
PAGE = 50
# Seconds that a part of a history is kept aside.
_STAGED_TTL = 3_600
Entry = Mapping[str, str]


def stage_command(store: Store, memory_id: str, token: str, position: int, entries: Sequence[Entry]) -> Command:
    """Puts a page of the history aside.

    Args:
        store: keys.
        memory_id: the memory's.
        token: of the import.
        position: how many entries are aside already.
        entries: at most PAGE.
    """
    return scripts.stage_history(
        staged=store.keys.importing(memory_id, token), position=position, ttl=_STAGED_TTL, entries=_flat(entries)
    )


def import_command(
    store: Store,
    state: MemoryState,
    history: Sequence[Entry],
    vectors: Vectors,
    *,
    based_on: tuple[int, str],
    token: str,
    staged: int,
    spaces: Iterable[SpaceRecord],
    now: float,
) -> Command:
    """Writes the memory and the rest of its history.

    Args:
        store: keys, settings.
        state: the memory's.
        history: all of it, oldest first; each entry with its `id`.
        vectors: of the text, in the spaces' form.
        based_on: the version and the commit that the store has; 0 for none.
        token: of the import.
        staged: how many entries are aside.
        spaces: those registered.
        now: seconds since the epoch, by the data Redis.
    """
    keys = store.keys
    fields, _ = hash_fields(MemoryState(state.id), state, 0)
    if not state.erased:
        if store.settings.index_text:
            fields += [WORDS_FIELD, indexed_words(state.memory)]
        names = [space.name for space, _ in vectors]
        newest = newest_listed(spaces, names)
        for space, vector in vectors:
            fields += [space.field, vector]
        if newest is not None:
            fields += [SPACE_FIELD, spaces_value(names), "embedding_model", newest.space.model]
    return scripts.import_memory(
        memory=keys.memory(state.id),
        history=keys.history(state.id),
        staged=keys.importing(state.id, token),
        based_on=based_on[0],
        based_on_commit=based_on[1],
        staged_entries=staged,
        entries=_flat(history[staged:]),
        fields=fields,
        effects=list(_effects(store, state.id, history, now)),
    )


def _flat(entries: Iterable[Entry]) -> list[Any]:
    flat: list[Any] = []
    for entry in entries:
        fields = [part for name, value in entry.items() if name != "id" for part in (name, value)]
        flat += [entry["id"], len(fields), *fields]
    return flat


def _effects(store: Store, memory_id: str, history: Sequence[Entry], now: float) -> Iterator[scripts.Effect]:
    """The applied keys of jobs that may still wait; the effect of an older job is found in the history."""
    for entry in reversed(history):
        told = entry.get("submitted_at") or entry["updated_at"]
        left = int(store.settings.job_ttl - (now - microseconds_of(datetime.fromisoformat(told)) / 1_000_000))
        if left <= 0:
            return
        key = store.keys.applied(memory_id, applied_id(entry["job_id"], entry.get("item")))
        yield scripts.Effect(key, applied_value(entry["event"], int(entry["version"])), str(left))
