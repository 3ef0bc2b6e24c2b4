"""From plans to outcomes: carry the operations out, and plan facts again whose memory has changed meanwhile.

A planned change rests on the version that the decision saw. If the memory has another one by then, only that fact is
searched for and decided again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from emendo_config.error_codes import ErrorCode
from emendo_workers.inference.candidates import candidate_again
from emendo_workers.inference.inferred_add import InferredAdd
from emendo_workers.inference.plan import MEMORY_CHANGED, MEMORY_GONE
from emendo_workers.inference.planner import Planner
from emendo_workers.inference.stages import Stages
from emendo_workers.inference.types import Action
from emendo_workers.inference.vectors import Vectors
from emendo_workers.jobs.operations import Add, Delete, PendingDelete, PendingUpdate, Plannable, Update
from emendo_workers.jobs.outcomes import ItemOutcome
from emendo_workers.memories.apply import apply_operations
from emendo_workers.services import Services

# Errors of an operation whose memory is not the one the decision saw: it has another version, or is gone.
_CHANGED = ErrorCode.VERSION_MISMATCH
_WITH_TEXT = (Add, Update, PendingUpdate)
_GONE = (ErrorCode.MEMORY_NOT_FOUND, ErrorCode.MEMORY_ERASED)


def carry_out(
    adds: Sequence[InferredAdd], services: Services, planner: Planner, stages: Stages, vectors: Vectors
) -> None:
    """Gives every operation of the plans its outcome."""
    cancelled = {add.work.job_id for add in adds if add.work.cancelled}
    remaining = list(adds)
    while remaining:
        _embed_new_texts(remaining, stages, vectors)
        waiting = [(add, place) for add in remaining for place in add.waiting]
        operations = [add.work.operations[place] for add, place in waiting]
        outcomes = apply_operations(operations, services, cancelled=cancelled, vectors=vectors.texts)
        for (add, place), outcome in zip(waiting, outcomes, strict=True):
            add.outcomes[place] = outcome
        remaining = [add for add in remaining if _plan_again(add, planner, services.settings.inference_redecisions)]


def _embed_new_texts(adds: Sequence[InferredAdd], stages: Stages, vectors: Vectors) -> None:
    """Embeds the texts of updates; the model wrote them, so they differ from the facts."""
    vectors.embed(
        {
            add: [each.text for each in add.waiting.values() if isinstance(each, Update) and each.text]
            for add in adds
            if not add.work.cancelled
        }
    )
    for add in adds:
        if add.spent:
            stages.record_spent(add)


def _plan_again(add: InferredAdd, planner: Planner, most_redecisions: int) -> bool:
    """Plans the facts again whose memory has changed; True when there is something to carry out."""
    facts = []
    for place, outcome in list(add.outcomes.items()):
        operation = outcome.operation
        # A dead letter of an erased memory has no fact any more.
        if not isinstance(operation, Plannable) or not _lost_its_memory(outcome) or not _has_fact(operation):
            continue
        is_gone = outcome.error is not None and outcome.error.error_code != _CHANGED
        if is_gone:
            planner.discard_pending_add(add, operation.memory_id)
        if isinstance(operation, Delete | PendingDelete) and (is_gone or operation.redecided >= most_redecisions):
            add.outcomes[place] = _nothing_to_do(operation, MEMORY_GONE if is_gone else MEMORY_CHANGED)
        else:
            del add.outcomes[place]
            facts.append(candidate_again(add.work.documents[place], place, add.work.documents))
    if not facts:
        return False
    for place in planner.plan_again(add, facts):
        operation = add.work.operations[place]
        assert isinstance(operation, Plannable)  # plans consist of these
        add.outcomes[place] = _nothing_to_do(operation, MEMORY_CHANGED)
    return bool(add.waiting)


def _lost_its_memory(outcome: ItemOutcome) -> bool:
    code = outcome.error.error_code if outcome.error is not None else ""
    return not isinstance(outcome.operation, Add) and code in (_CHANGED, *_GONE)


def _has_fact(operation: Plannable) -> bool:
    return bool(operation.fact) or (isinstance(operation, _WITH_TEXT) and bool(operation.text))


def _nothing_to_do(operation: Plannable, fallback: str) -> ItemOutcome:
    """The outcome of a delete that has nothing to do any more."""
    result = {"memory_id": operation.memory_id, "event": None, "version": None, "error": None}
    return ItemOutcome(replace(operation, decision=Action.NONE.value, fallback=fallback), result=result)
