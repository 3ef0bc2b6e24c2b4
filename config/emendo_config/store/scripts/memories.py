"""Scripts about one memory: all of its keys are in one cluster slot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from emendo_config.store.memory_fields import COMMIT_FIELD, OPENED_FIELDS
from emendo_config.store.pipeline import as_text
from emendo_config.store.scripts.declaration import Key, KeyList, Number, OptionalKey, Rows, Values, script

# Fields of a history entry that stay when the memory is erased: when, what and by whom.
_KEPT_WHEN_ERASED = (
    "version",
    "event",
    "created_at",
    "updated_at",
    "is_deleted",
    "actor_id",
    "role",
    "job_id",
    "item",
    "history_start",
)
# Entries that one commit removes at most, so that a new limit makes nobody wait.
_MOST_TRIMMED = 500
# Some entries of a history, id and fields of each, oldest first; in place of a missing or wrong key, its type's name.
HistoryPage = list[tuple[bytes, dict[bytes, bytes]]] | str
_KEPT = {"kept_when_erased": _KEPT_WHEN_ERASED}


class Opened(NamedTuple):
    """A memory that was locked and read.

    Attributes:
        values: of OPENED_FIELDS.
        applied: for each applied key its value, or None.
    """

    values: list[bytes | None]
    applied: list[bytes | None]

    @classmethod
    def read(cls, raw: Any) -> Opened | None:
        """From the reply of Redis."""
        return None if raw is None else cls(*raw)


@script(reply=Opened.read, constants={"opened_fields": OPENED_FIELDS}, at_limit=True)
def open_memory(*, lock: Key, memory: Key, token: str, ttl_ms: int, applied: KeyList) -> None:
    """Locks one memory and reads it; None when another worker holds the lock.

    Args:
        lock, memory: the memory's.
        token, ttl_ms: the lock's.
        applied: the applied keys of the operations that are to change it.
    """


class CommittedChange(NamedTuple):
    """One change of a memory.

    Attributes:
        applied, value: its applied key, and what the key says, see `formats.applied_value`.
        entry_id, entry: its history entry: the id, and field, value, ….
    """

    applied: Key
    value: str
    entry_id: str
    entry: Values


@script(reply=as_text, constants={"commit_field": COMMIT_FIELD, "most_trimmed": _MOST_TRIMMED})
def commit(
    *,
    memory: Key,
    history: Key,
    erased_history: Key,
    lock: Key,
    conflicts: Key,
    based_on: int,
    based_on_commit: str,
    spaces: str,
    token: str,
    ttl: int,
    erase: bool,
    kept_entries: Number,
    fields: Values,
    removed: Values,
    disputed: Values,
    resolved: Values,
    changes: Rows[CommittedChange],
) -> None:
    """Replies `committed` or `stale`.

    Args:
        memory, history, erased_history, lock, conflicts: the memory's.
        based_on: the version that the decision was based on; 0 for a new memory.
        based_on_commit: the commit that made that version; empty for one of an older release.
        spaces: the `embedding_space` that the decision was based on; empty for none.
        token: the lock's.
        ttl: seconds the applied keys are kept.
        erase: leave nothing but `fields`, and the history as `erased_history`.
        kept_entries: the newest history entries to keep; 0 for all.
        fields: field, value, … to set.
        removed: fields to remove.
        disputed: mark, document, … of the conflicts that arose.
        resolved: marks of the conflicts that no longer wait.
        changes: at least one.
    """


@script(reply=int, shared=("add_entries",))
def stage_history(*, staged: Key, position: Number, ttl: int, entries: Values) -> None:
    """The number of entries that are aside.

    Args:
        staged: where an import puts a history aside, see `Keys.importing`.
        position: how many entries are aside already.
        ttl: seconds they are kept.
        entries: for each its id, the number of its fields and values, and these.
    """


class Effect(NamedTuple):
    """The effect of a job that an imported history has.

    Attributes:
        applied, value, ttl: the applied key, its value, and the seconds that it is kept.
    """

    applied: Key
    value: str
    ttl: str


@script(reply=as_text, constants={"commit_field": COMMIT_FIELD}, shared=("add_entries",))
def import_memory(
    *,
    memory: Key,
    history: Key,
    staged: Key,
    based_on: int,
    based_on_commit: str,
    staged_entries: Number,
    entries: Values,
    fields: Values,
    effects: Rows[Effect],
) -> None:
    """Replies `imported`, `stale` or `lost`.

    Args:
        memory, history: the memory's.
        staged: where the first entries are aside, if there are any.
        based_on, based_on_commit: the version that the store was seen to have, 0 for none, and its commit.
        staged_entries: how many are aside.
        entries: the others, as for `stage_history`.
        fields: field, value, … of the hash.
        effects: of jobs that may still wait.
    """


@script(reply=bool, at_limit=True)
def confirm(
    *,
    applied: Key,
    history: Key,
    erased_history: OptionalKey = None,
    value: str,
    entry_id: str,
    job_id: str,
    item: str,
    ttl: int,
) -> None:
    """True when the change is there, and its applied key is renewed.

    Args:
        applied, history: the change's applied key; the memory's history.
        erased_history: for an erasure, the key that must be gone.
        value: what the applied key says, see `formats.applied_value`.
        entry_id, job_id, item: of the change's history entry; `item` is empty for none.
        ttl: seconds the applied key is kept.
    """


@script(reply=as_text, at_limit=True)
def fence(*, applied: Key, value: str, ttl: int) -> None:
    """The value of the operation's applied key: its effect, or that it is cancelled.

    Args:
        applied: the operation's applied key.
        value: see `formats.CANCELLED_VALUE`.
        ttl: seconds the applied key is kept.
    """


@script(reply=bool, constants={"commit_field": COMMIT_FIELD}, at_limit=True)
def confirm_state(
    *,
    memory: Key,
    history: Key,
    confirmed: Key,
    erased_history: OptionalKey = None,
    version: str,
    commit_id: str,
    entry_id: str,
    ttl: int,
) -> None:
    """True when the memory has this state, or had it.

    Args:
        memory, history: the memory's.
        confirmed: the key that is written for the sake of the write.
        erased_history: as for `confirm`.
        version, commit_id: of the state.
        entry_id: of the version's history entry.
        ttl: seconds that `confirmed` is kept.
    """


@script(reply=as_text, shared=("listed_spaces",))
def backfill(*, memory: Key, text_hash: str, space: str, field: str, vector: bytes, model: str) -> None:
    """Replies `done`, `changed` or `gone`.

    Args:
        memory: the memory's.
        text_hash: of the text that the vector is of.
        space, field: the embedding space's names.
        vector: in the space's datatype.
        model: the memory's `embedding_model` from now on; empty leaves it.
    """


@script(reply=bool)
def write_tags(*, memory: Key, metadata: bytes, tags: str) -> None:
    """True when the memory has the tags; False when its metadata is another by now.

    Args:
        memory: the memory's.
        metadata: as it was read.
        tags: those of that metadata; empty for none.
    """


@script(reply=bool, shared=("listed_spaces",), at_limit=True)
def drop_vector(*, memory: Key, space: str, field: str, model: str) -> None:
    """True when the memory had something of the space; parameters as for `backfill`."""


@script(reply=bool)
def write_words(*, memory: Key, text_hash: str, field: str, words: str) -> None:
    """True when the memory still has the text and got its words; False when it has another one, or none.

    Args:
        memory: its key.
        text_hash: of the text that the words were taken from.
        field, words: the field and its value.
    """


def _history_page(raw: Any) -> HistoryPage:
    """From the reply of Redis."""
    if not isinstance(raw, list):
        return as_text(raw)
    return [(entry_id, dict(zip(flat[::2], flat[1::2], strict=True))) for entry_id, flat in raw]


@script(reply=_history_page, constants=_KEPT, shared=("skeleton", "history_page"), reads_only=True)
def read_history(*, memory: Key, history: Key, erased_history: Key, after: str, count: Number) -> None:
    """Some entries of one memory's history.

    Args:
        memory, history, erased_history: the memory's.
        after: the id before the first entry; `-` for the beginning.
        count: the most entries to read.
    """


class MemoryRead(NamedTuple):
    """A memory as it was at one moment.

    Attributes:
        fields: the hash's field, value, …; in place of a missing or wrong key, the name of its type.
        page: the first entries of its history.
    """

    fields: list[bytes] | bytes
    page: HistoryPage

    @classmethod
    def read(cls, raw: Sequence[Any]) -> MemoryRead:
        """From the reply of Redis."""
        fields, page = raw
        return cls(fields, _history_page(page))


@script(reply=MemoryRead.read, constants=_KEPT, shared=("skeleton", "history_page"), reads_only=True)
def read_memory(*, memory: Key, history: Key, erased_history: Key, count: Number) -> None:
    """Reads one memory and the first entries of its history; parameters as for `read_history`."""


@script(reply=bool, constants=_KEPT, shared=("skeleton",), at_limit=True)
def move_erased(*, memory: Key, history: Key, erased_history: Key, until_id: str, count: Number) -> None:
    """True when the erased history has further entries.

    Args:
        memory, history, erased_history: the memory's.
        until_id: the id of the last entry to move.
        count: the most entries to move.
    """
