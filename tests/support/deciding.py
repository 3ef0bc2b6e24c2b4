"""Shared by the tests of the decision: operations by a few words, and their effect on a state."""

from __future__ import annotations

import copy

from emendo_workers.jobs.operations import OPERATIONS, Operation
from emendo_workers.memories.decide import Change, apply_operation
from emendo_workers.memories.state import MemoryState

NOW = 1_800_000_000_000_000
BORN = 1_000
# Further fields that an operation of the kind needs.
TEXT = {"add": {"text": "x", "user_id": "ana"}, "update": {"text": "x"}}


def op(kind: str, submitted: int, **more) -> Operation:
    return OPERATIONS[kind](f"job-{submitted}", more.pop("project", "p"), submitted, "m", **more)


def apply(state: MemoryState, operation: Operation, **more) -> Change:
    before = copy.deepcopy(state)
    try:
        return apply_operation(state, operation, **{"snapshot": None, "now": NOW, "metadata_limit": 16_384, **more})
    finally:
        assert state == before, "the input state was changed"


def fresh(**more) -> MemoryState:
    return apply(MemoryState("m"), op("add", BORN, text="born", user_id="ana", **more)).after


def entry(change: Change) -> dict[str, str]:
    flat = change.history_fields()
    return dict(zip(flat[::2], flat[1::2], strict=True))
