"""One memory of a file, checked: it is whole, and its history agrees with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from emendo_client.errors import EmendoError
from emendo_client.exchanges.diagnosis.checks import Reading, diagnose
from emendo_client.exchanges.diagnosis.models import Check
from emendo_client.requests import validation
from emendo_config.store.formats import version_entry_id
from emendo_config.store.memory_fields import STATE_FIELDS
from emendo_workers.memories.state import MemoryState, parse_state

# Checks of what an import makes itself, or of the index.
_OF_THE_STORE = frozenset(
    {
        Check.INDEX,
        Check.VECTOR,
        Check.VECTOR_LENGTH,
        Check.EMBEDDING_MODEL,
        Check.EMBEDDING_SPACE,
        Check.METADATA_TAGS,
        Check.EXPIRES_MS,
    }
)
Entry = dict[str, str]


@dataclass(frozen=True, slots=True)
class Refused:
    """A part of a file that cannot be imported.

    Attributes:
        line: its number, from 1.
        reason: without any text of a memory.
    """

    line: int
    reason: str


class RefusedError(Exception):
    """The reason why a memory cannot be imported."""


@dataclass(slots=True)
class FileMemory:
    """A memory of a file.

    Attributes:
        history: oldest first; each entry with its `id`.
        vectors: by the space's name in the file.
    """

    line: int
    project: str
    state: MemoryState
    history: list[Entry]
    vectors: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The memory's id."""
        return self.state.id

    @property
    def newest_write(self) -> int:
        """The newest submission time that it knows (microseconds)."""
        times = self.state.write_times
        return max(times.base, times.text, times.deleted, *times.metadata.values(), 0)

    def commit_at(self, version: int) -> str | None:
        """The commit that made a version, empty if the history does not say; None if the history lacks it."""
        at = version - int(self.history[0]["version"])
        return self.history[at].get("commit_id", "") if 0 <= at < len(self.history) else None


def checked(line: int, memory_id: Any, fields: Any, history: Any, vectors: Mapping[str, bytes]) -> FileMemory:
    """The memory, if it is whole.

    Raises:
        RefusedError: it is not.
    """
    if not _are_texts(fields) or not isinstance(history, list) or not all(map(_are_texts, history)):
        raise RefusedError("fields or history are malformed")
    try:
        validation.memory_id(memory_id)
        project = validation.scope_id(fields.get("project"), "project", is_new=False)
    except EmendoError as error:
        raise RefusedError(error.message) from None
    if project is None:
        raise RefusedError("it names no project")
    known = {name: value.encode() for name, value in fields.items() if name in STATE_FIELDS}
    entries = [
        (entry.get("id", "").encode(), {name.encode(): value.encode() for name, value in entry.items() if name != "id"})
        for entry in history
    ]
    found = diagnose(Reading(memory_id, known, entries, indexed=True), [])
    wrong = sorted({finding.check.value for finding in found.wrong if finding.check not in _OF_THE_STORE})
    if wrong:
        raise RefusedError(f"damaged: {', '.join(wrong)}")
    if any(entry["id"] != version_entry_id(int(entry["version"])) for entry in history):
        raise RefusedError("an entry of its history has another id than its version's")
    try:
        state = parse_state(memory_id, [known.get(name) for name in STATE_FIELDS])
        for entry in history:
            datetime.fromisoformat(entry.get("submitted_at", entry["updated_at"]))
        return FileMemory(line, project, state, history, vectors)
    except (ValueError, TypeError, KeyError):
        raise RefusedError("its write times or its history are malformed") from None


def _are_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(part, str) for part in value.values())
