"""Three-way merges: two writers changed one base; their changes are combined field by field. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from emendo_workers.jobs.operations import Authored, PendingDelete, PendingUpdate, Update
from emendo_workers.memories.state import MemoryState, Snapshot
from emendo_workers.providers.merge_prompt import Texts


class NeedsMerge(Exception):  # noqa: N818  # not an error: a question to answer first
    """The chat model must merge two texts before the operation can be decided."""

    def __init__(self, texts: Texts) -> None:
        super().__init__()
        self.texts = texts


@dataclass(slots=True)
class MergedTexts:
    """The texts merged so far; None where the model left two texts to a person."""

    found: dict[Texts, str | None] = field(default_factory=dict)

    def text(self, texts: Texts) -> str | None:
        """The merged text, or None when a person must decide.

        Raises:
            NeedsMerge: the model has not been asked.
        """
        if texts not in self.found:
            raise NeedsMerge(texts)
        return self.found[texts]


@dataclass(slots=True)
class MergeResult:
    """The parts of a submission: those to set, and the disputed ones, which wait for a person."""

    text: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    disputed_text: str | None = None
    disputed_metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def is_disputed(self) -> bool:
        """True when a person must decide a part."""
        return self.disputed_text is not None or bool(self.disputed_metadata)


def is_contested(state: MemoryState, operation: Update) -> bool:
    """True when a newer submission has set a field that this one wants to set."""
    times, submitted = state.write_times, operation.submitted
    if operation.text is not None and submitted <= times.of_text():
        return True
    return any(submitted <= times.of_key(key) for key in operation.metadata or {})


def three_way_merge(
    base: Snapshot, state: MemoryState, operation: Update, merged_texts: MergedTexts | None
) -> MergeResult:
    """Merges the submission (ours) with the memory as it is (theirs).

    A field that only one of them changed takes that change. Under `merge`, a metadata key that both changed keeps the
    newest submission, and a text that both changed is merged by the chat model. Under `manual`, both wait for a
    person; so does the text when there is no chat model.

    Args:
        base: the content both writers started from.
        state: the memory.
        operation: the submission.
        merged_texts: None without a chat model.

    Raises:
        NeedsMerge: the texts must be merged first.
    """
    manual = operation.on_conflict == "manual"
    result = MergeResult()
    for key, ours in (operation.metadata or {}).items():
        was, theirs = base.metadata.get(key), state.metadata.get(key)
        if _json(ours) == _json(was):
            continue  # the submission leaves this key as it was in the base
        if _json(theirs) in (_json(was), _json(ours)):
            result.metadata[key] = ours
        elif manual:
            result.disputed_metadata[key] = ours
        elif operation.submitted > state.write_times.of_key(key):
            result.metadata[key] = ours
    text = operation.text
    if text is not None and text != base.memory:
        if state.memory in (base.memory, text):
            result.text = text
        else:
            merged = (
                None if manual or merged_texts is None else merged_texts.text(Texts(base.memory, state.memory, text))
            )
            result.text = merged
            result.disputed_text = text if merged is None else None
    return result


def _json(value: Any) -> str:
    """A form in which different metadata values differ; Python takes 1 and True for equal."""
    return json.dumps(value, sort_keys=True)


def conflict_document(base: Snapshot, state: MemoryState, operation: Update, result: MergeResult) -> dict[str, Any]:
    """The stored conflict: the disputed part of ours, and its base; theirs is the memory itself."""
    return _pending(
        state,
        operation,
        base_memory=base.memory if result.disputed_text is not None else None,
        base_metadata={key: base.metadata.get(key) for key in result.disputed_metadata},
        memory=result.disputed_text,
        metadata=result.disputed_metadata,
    )


def pending_document(state: MemoryState, operation: PendingDelete | PendingUpdate) -> dict[str, Any]:
    """The stored change that waits for a person: the text that would go, what would take its place, and the reason."""
    parts: dict[str, Any] = {"op": "delete"}
    if isinstance(operation, PendingUpdate):
        metadata = operation.metadata or {}
        parts = {
            "memory": operation.text,
            "metadata": metadata,
            "base_metadata": {key: state.metadata.get(key) for key in metadata},
        }
    return _pending(
        state,
        operation,
        **parts,
        base_memory=state.memory,
        reason=operation.reason,
        source=operation.source,
        prompt=operation.prompt,
    )


def repeats(operation: PendingDelete | PendingUpdate, pending: dict[str, Any]) -> bool:
    """True when the operation would leave for a person what waits already."""
    if isinstance(operation, PendingDelete):
        return is_delete(pending)
    return not is_delete(pending) and pending.get("memory") == operation.text


def is_delete(pending: dict[str, Any] | None) -> bool:
    """True when the submission that waits is a delete."""
    return pending is not None and pending.get("op") == "delete"


def _pending(state: MemoryState, operation: Authored, **parts: Any) -> dict[str, Any]:
    document = {
        "job_id": operation.job_id,
        "submitted": operation.submitted,
        "actor_id": operation.actor_id,
        "role": operation.role,
        "expected_version": operation.expected_version,
        "version": state.version,
        **parts,
    }
    return {name: value for name, value in document.items() if value not in (None, {})}
