"""Entries of a memory's history stream, read into `HistoryEntry`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from emendo_client.models import Event, HistoryEntry
from emendo_config.json_codec import read_json
from emendo_config.store.format_versions import too_old
from emendo_config.store.pipeline import as_text

_EVENTS = frozenset(Event)


def history_entries(memory_id: str, entries: Iterable[tuple[Any, Mapping[Any, Any]]]) -> list[HistoryEntry]:
    """Consecutive entries of a history stream; see `with_old_states`."""
    return with_old_states([history_entry(memory_id, entry_id, raw) for entry_id, raw in entries])


def with_old_states(entries: Iterable[HistoryEntry], before: HistoryEntry | None = None) -> list[HistoryEntry]:
    """The entries with the text and metadata that each change found, which are those of the entry before.

    An entry of an older release has both itself; one of an erased memory has neither, and gets neither.

    Args:
        entries: consecutive, oldest first.
        before: the entry before the first one, from this function.
    """
    found = []
    for entry in entries:
        is_erased = entry.new_metadata is None and entry.old_metadata is None
        if before is not None and before.version == entry.version - 1 and not is_erased and entry.old_metadata is None:
            old = {"old_memory": before.text, "old_metadata": before.metadata}
            entry = entry.model_copy(update=old)  # noqa: PLW2901  # the next entry needs the whole one
        found.append(entry)
        before = entry
    return found


def history_entry(memory_id: str, entry_id: Any, raw: Mapping[Any, Any]) -> HistoryEntry:
    """One entry of a history stream, as it is stored.

    Raises:
        ConfigurationError: (RELEASE_TOO_OLD) the kind of change is none that this release knows.
    """
    fields = {as_text(name): as_text(value) for name, value in raw.items()}
    if fields.get("event", Event.ADD) not in _EVENTS:
        raise too_old("a memory's history has a kind of change that this release does not know")
    document: dict[str, Any] = {**fields, "id": as_text(entry_id), "memory_id": memory_id}
    for name in ("old_metadata", "new_metadata"):
        if name in fields:
            document[name] = read_json(fields[name])
    document["is_deleted"] = fields.get("is_deleted") == "1"
    return HistoryEntry.model_validate(document)
