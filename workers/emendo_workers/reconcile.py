"""Three-way merges: what two writers made of one base, brought together field by field. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from emendo_workers.operations import Operation
from emendo_workers.state import MemoryState, Snapshot


class Texts(NamedTuple):
    """One text and the two that writers made of it."""

    base: str
    theirs: str
    ours: str


class NeedsMerge(Exception):  # noqa: N818  # not an error: the question that must be asked first
    """Two texts must be merged by the chat model before the decision can be made."""

    def __init__(self, texts: Texts) -> None:
        super().__init__()
        self.texts = texts


@dataclass(slots=True)
class Merges:
    """Merged texts found so far; `None` for two texts that nobody could merge."""

    found: dict[Texts, str | None] = field(default_factory=dict)

    def text(self, texts: Texts) -> str | None:
        """The merged text, or None when a person must decide.

        Raises:
            NeedsMerge: nobody was asked yet.
        """
        if texts not in self.found:
            raise NeedsMerge(texts)
        return self.found[texts]


@dataclass(slots=True)
class Reconciled:
    """What of a submission is to be set, and what must wait for a person."""

    text: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    disputed_text: str | None = None
    disputed_metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def is_disputed(self) -> bool:
        """True when something waits."""
        return self.disputed_text is not None or bool(self.disputed_metadata)


def is_contested(state: MemoryState, operation: Operation) -> bool:
    """True when a newer submission has set a field that this one wants to set."""
    stamps, submitted = state.stamps, operation.submitted
    if operation.text is not None and submitted <= stamps.of_text():
        return True
    return any(submitted <= stamps.of_key(key) for key in operation.metadata or {})


def reconcile(base: Snapshot, state: MemoryState, operation: Operation, merges: Merges | None) -> Reconciled:
    """Brings the submission (ours) and the memory as it is (theirs) together.

    A field that only one of them changed takes that change. Metadata keys that both changed keep the newest
    submission under `merge` and wait under `manual`; a text that both changed is merged by the chat model under
    `merge`, and waits when there is none (or under `manual`).

    Raises:
        NeedsMerge: the texts must be merged first.
    """
    manual = operation.on_conflict == "manual"
    done = Reconciled()
    for key, ours in (operation.metadata or {}).items():
        was, theirs = base.metadata.get(key), state.metadata.get(key)
        if _json(ours) == _json(was):
            continue  # a value that says what the base said changes nothing
        if _json(theirs) in (_json(was), _json(ours)):
            done.metadata[key] = ours
        elif manual:
            done.disputed_metadata[key] = ours
        elif operation.submitted > state.stamps.of_key(key):
            done.metadata[key] = ours
    text = operation.text
    if text is not None and text != base.memory:  # nor does such a text
        if state.memory in (base.memory, text):
            done.text = text
        else:
            merged = None if manual or merges is None else merges.text(Texts(base.memory, state.memory, text))
            done.text = merged
            done.disputed_text = text if merged is None else None
    return done


def _json(value: Any) -> str:
    """What tells metadata values apart; Python takes 1 and True for the same."""
    return json.dumps(value, sort_keys=True)


def conflict_document(base: Snapshot, state: MemoryState, operation: Operation, done: Reconciled) -> dict[str, Any]:
    """What waits for a person: the disputed part of ours and the base; theirs is the memory itself."""
    return _waiting(
        state,
        operation,
        base_memory=base.memory if done.disputed_text is not None else None,
        base_metadata={key: base.metadata.get(key) for key in done.disputed_metadata},
        memory=done.disputed_text,
        metadata=done.disputed_metadata,
    )


def held_delete(state: MemoryState, operation: Operation) -> dict[str, Any]:
    """A delete that waits for a person: the text that would go, and why."""
    return _waiting(
        state,
        operation,
        op="delete",
        base_memory=state.memory,
        reason=operation.reason,
        source=operation.source,
        prompt=operation.prompt,
    )


def is_delete(waiting: dict[str, Any] | None) -> bool:
    """True when what waits is a delete."""
    return waiting is not None and waiting.get("op") == "delete"


def _waiting(state: MemoryState, operation: Operation, **what: Any) -> dict[str, Any]:
    document = {
        "job_id": operation.job_id,
        "submitted": operation.submitted,
        "actor_id": operation.actor_id,
        "role": operation.role,
        "expected_version": operation.expected_version,
        "version": state.version,
        **what,
    }
    return {name: value for name, value in document.items() if value not in (None, {})}
