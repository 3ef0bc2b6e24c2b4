"""The right state of a memory, worked out from the requests in the order of their submission. Pure.

Newest submission wins, field by field. The text, each metadata key and the deleted mark have the value that the
newest submission gave them. The order of arrival is not looked at, except where a request is about it.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from tests.chaos.traffic import Ask

CONTENT = ("old_memory", "new_memory", "old_metadata", "new_metadata")
# All that a tombstone may hold.
TOMBSTONE = {"id", "project", "version", "created_at", "updated_at", "is_deleted", "erased", "stamps"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One history entry, as Redis has it."""

    version: int
    event: str
    job_id: str
    updated_at: str
    fields: dict[str, str]

    @classmethod
    def read(cls, entry_id: bytes, raw: dict[bytes, bytes]) -> Self:
        fields = {name.decode(): value.decode() for name, value in raw.items()}
        version = int(fields["version"])
        if entry_id != b"%d-0" % version:
            version = -1  # an entry that is not at its place is a gap
        return cls(version, fields["event"], fields["job_id"], fields["updated_at"], fields)

    @property
    def text(self) -> str:
        """The text after it; of one that hides the memory, the text that was hidden."""
        return self.fields.get("old_memory" if self.event == "DELETE" else "new_memory", "")

    @property
    def metadata(self) -> dict[str, Any]:
        return json.loads(self.fields.get("old_metadata" if self.event == "DELETE" else "new_metadata", "{}"))


@dataclass(frozen=True, slots=True)
class Applied:
    """One request that its job says was recorded: when it was submitted (microseconds), as which version."""

    job_id: str
    ask: Ask
    submitted: int
    event: str
    version: int


@dataclass(slots=True)
class State:
    text: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    deleted: bool = False


def expected(applied: Sequence[Applied], entries: dict[int, Entry]) -> State:
    """The memory after all requests that were not set aside, one after another as they were submitted."""
    state = State()
    for each in sorted(applied, key=lambda each: each.submitted):
        ask = each.ask
        if each.event == "SUPERSEDED":
            continue
        if ask.text is not None:
            state.text = ask.text
        for key, value in (ask.metadata or {}).items():
            state.metadata.pop(key, None)
            if value is not None:
                state.metadata[key] = value
        if ask.op == "delete":
            state.deleted = True
        elif ask.op == "restore":
            state.deleted = False
            if ask.version is not None:
                state.text, state.metadata = entries[ask.version].text, dict(entries[ask.version].metadata)
    return state


def set_aside_wrongly(applied: Sequence[Applied]) -> Iterator[str]:
    """SUPERSEDED entries that should have applied in part: nothing newer that set it was there before.

    A restore to a version may apply nothing, and still stands for the keys it left out. An older submission must not
    bring them back.
    """
    for late in applied:
        if late.event != "SUPERSEDED":
            continue
        before = [
            each
            for each in applied
            if (each.event != "SUPERSEDED" or each.ask.version is not None)
            and each.version < late.version
            and each.submitted > late.submitted
        ]
        taken = set().union(*(_sets(each.ask) for each in before))
        if "everything" not in taken and _sets(late.ask) - taken - {"everything"}:
            yield f"version {late.version} was set aside, though it was the newest to set a part of it"


def foreign_changes(entries: Sequence[Entry], applied: Sequence[Applied]) -> Iterator[str]:
    """Entries that change what their request did not set: they rest on another state than the entry before them."""
    asks = {each.version: each.ask for each in applied}
    for before, after in itertools.pairwise(entries):
        ask = asks.get(after.version)
        if ask is None or ask.version is not None or after.event == "SUPERSEDED":
            continue
        if ask.text is None and after.text != before.text:
            yield f"version {after.version} changed the text, which its request did not set"
        changed = {key for key, _ in {*_flat(before.metadata)} ^ {*_flat(after.metadata)}}
        if foreign := changed - (ask.metadata or {}).keys():
            yield f"version {after.version} changed the metadata {sorted(foreign)}, which its request did not set"


def _flat(metadata: dict[str, Any]) -> Iterator[tuple[str, str]]:
    return ((key, json.dumps(value)) for key, value in metadata.items())


def _sets(ask: Ask) -> set[str]:
    """The parts of a memory a request sets."""
    parts = {f"metadata {key}" for key in ask.metadata or {}}
    if ask.text is not None:
        parts.add("text")
    if ask.op in ("delete", "restore"):
        parts.add("deleted")
    if ask.version is not None:
        parts.add("everything")
    return parts


def erased_problems(raw: dict[bytes, bytes], entries: Sequence[Entry]) -> Iterator[str]:
    """Findings about an erased memory that still shows something."""
    kept = {name.decode() for name in raw} - TOMBSTONE
    if kept:
        yield f"the hash keeps {sorted(kept)}"
    if raw.get(b"is_deleted") != b"1" or raw.get(b"erased") != b"1":
        yield "it is not marked as erased"
    if any(name in entry.fields for entry in entries for name in CONTENT):
        yield "the history keeps content"
    if entries and entries[-1].event != "DELETE":
        yield f"a version follows the erasure: {entries[-1].event}"
