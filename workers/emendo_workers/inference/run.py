"""Inference, from conversations to what became of each fact: facts → embed → search → decide → plan → carry out.

All of it happens under the lock of the scope. What costs money is stored before the next step begins: the facts once
they are found, the plan once it is made. So an attempt goes on where the one before it ended, and a plan that stands in
the record is carried out whatever happens to its worker, the way every other operation is.

A planned change is based on the version that the decision saw. When the memory has another one by then, that fact
alone is searched for and decided anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

from emendo_client.errors import EmendoError, VectorStoreError
from emendo_workers.apply import apply_operations
from emendo_workers.inference.likeness import Added
from emendo_workers.inference.planning import MEMORY_CHANGED, MEMORY_GONE, Candidate, Limits, Plan
from emendo_workers.inference.plans import DRY_RUN, PLANNED, Draft, store
from emendo_workers.inference.proposals import proposals
from emendo_workers.inference.scope import locked, scope_of, search
from emendo_workers.inference.stages import Overtaken, Stages
from emendo_workers.inference.tasks import Task, candidate_again, candidates
from emendo_workers.inference.types import Decision, Verdict
from emendo_workers.inference.vectors import Vectors
from emendo_workers.operations import Operation, Work
from emendo_workers.outcomes import ItemOutcome
from emendo_workers.services import Services

# Said of jobs that were worked without a chat model.
DEGRADED = "no chat model is configured: messages are stored as they are"
# What is wrong with an operation whose memory is not the one the decision saw: it has another version, or is gone.
_CHANGED = "VERSION_MISMATCH"
_GONE = ("MEMORY_NOT_FOUND", "MEMORY_ERASED")


def infer(works: Sequence[Work], services: Services) -> list[tuple[Work, list[ItemOutcome]]]:
    """Infers from conversations and carries the plans out.

    Args:
        works: attempts at conversations, with a plan or without one.
        services: the worker's; without a chat model messages are facts, and each that is not known is added.

    Returns:
        For each work, in their order, what it has become (its operations may be others now), and an outcome for each
        of its waiting operations.

    Raises:
        RedisError: Redis failed midway; what was stored and committed stays, and a further attempt goes on from there.
    """
    return _Run(works, services).run()


class _Run:
    def __init__(self, works: Sequence[Work], services: Services) -> None:
        settings = services.settings
        self._services = services
        self._stages = Stages(services)
        self._tasks = [Task(work) for work in works]
        self._limits = Limits(settings.near_duplicate, settings.inference_max_deletes)
        self._added: dict[str, Added] = {}
        self._vectors = Vectors(services)

    def run(self) -> list[tuple[Work, list[ItemOutcome]]]:
        scopes = [scope_of(task.about) for task in self._tasks if task.about is not None]
        with locked(self._services, scopes) as held:
            ours = []
            for task in self._tasks:
                if task.about is not None and scope_of(task.about) not in held:
                    task.end(busy=True)
                elif task.work.cancelled and not task.work.is_planned:
                    task.end(cancelled=True)
                else:
                    ours.append(task)
            resumed = [task for task in ours if task.work.is_planned]
            self._make_plans([task for task in ours if not task.work.is_planned], resumed)
            planned = [task for task in ours if task.work.is_planned]
            self._propose([task for task in planned if DRY_RUN in task.work.head])
            self._carry_out([task for task in planned if DRY_RUN not in task.work.head])
        return [(task.work, task.items) for task in self._tasks]

    # From conversations to plans.

    def _make_plans(self, fresh: Sequence[Task], resumed: Sequence[Task]) -> None:
        """Plans what has no plan; of plans made by an earlier attempt, sees whether what they add is known by now."""
        for task in fresh:
            if self._go_on(task, self._stages.find_facts):
                task.facts = candidates(task.work.operations[0])
        for task in resumed:
            task.facts = self._unwritten(task)
        failures = self._look_up([task for task in (*fresh, *resumed) if task.waiting])
        for task in resumed:
            if task not in failures:  # otherwise, what is not there yet will fail for the same reason
                self._without_known(task)
        for task in fresh:  # in the order of submission: what one adds, the next one knows
            if task in failures:
                task.end(error=failures[task])
            elif task.waiting:
                self._go_on(task, self._planned)
        drafts = {task: task.draft for task in (*resumed, *fresh) if task.draft is not None}
        for task, stored in zip(drafts, store(self._services, list(drafts.values())), strict=True):
            if stored is None:
                task.end(busy=True)
            else:
                task.work = stored

    def _planned(self, task: Task) -> None:
        plan = self._plan_of(task)
        asked = plan.undecided(task.facts)
        decided = self._stages.decide(task, task.facts, asked)
        plan.fill(task.facts, decided.decisions, decided.neighbours, decided.prompt)
        head = {**task.work.head, PLANNED: True}
        if task.work.operations[0].dry_run:
            head[DRY_RUN] = True
        task.draft = Draft(
            task.work,
            head,
            plan.documents,
            {**task.take_spent(), **decided.spent},
            decided.prompts,
            "" if self._stages.has_model else DEGRADED,
        )

    def _unwritten(self, task: Task) -> list[Candidate]:
        """What the plan of an earlier attempt adds and is not there yet."""
        if task.work.cancelled:
            return []
        adds = [
            (place, operation)
            for place, operation in task.waiting.items()
            if operation.op == "add" and operation.fallback != MEMORY_CHANGED
        ]
        pipeline = self._services.data.pipeline(transaction=False)
        for _, operation in adds:
            pipeline.exists(self._services.keys.memory(operation.memory_id))
        return [
            candidate_again(task.work.documents[place], place, task.work.documents)
            for (place, _), is_there in zip(adds, pipeline.execute(), strict=True)
            if not is_there
        ]

    def _without_known(self, task: Task) -> None:
        """The plan without what it would add a second time: others had the scope since it was made."""
        before = task.work.documents
        places = {candidate.place for candidate in task.facts if candidate.place is not None}
        plan = self._plan_of(task, places)
        plan.fill(task.facts, {index: [Decision(index, Verdict.ADD)] for index in plan.undecided(task.facts)}, [])
        known = {place: plan.documents[place] for place in places if plan.documents[place]["op"] == "none"}
        if known:
            documents = [known.get(place, document) for place, document in enumerate(before)]
            task.draft = Draft(task.work, task.work.head, documents, task.take_spent())

    def _plan_of(self, task: Task, replaced: Collection[int] = ()) -> Plan:
        so_far = task.work.documents if task.work.is_planned else ()
        return Plan(task.work.record_id, self._limits, self._added_to(task), so_far, replaced)

    def _added_to(self, task: Task) -> Added:
        scope = scope_of(task.about) if task.about is not None else ""
        return self._added.setdefault(scope, Added(self._limits.near))

    def _look_up(self, tasks: Sequence[Task]) -> dict[Task, EmendoError]:
        """Vectors for the facts of the tasks, in one request, and what is known near them, in one round trip.

        Returns:
            Why tasks could not be looked up.
        """
        texts = {task: [each.text for each in task.facts] for task in tasks}
        self._vectors.embed(texts)
        failures = {task: error for task in tasks if (error := self._vectors.failure(texts[task])) is not None}
        questions = [
            (task, index, task.about, vector)
            for task in tasks
            if task not in failures and task.about is not None
            for index, each in enumerate(task.facts)
            if (vector := self._vectors.of(each.text)) is not None
        ]
        asked = [(about, vector) for _, _, about, vector in questions]
        try:
            found = search(self._services, self._vectors.space, asked)
        except VectorStoreError as error:  # the next attempt begins in the new space
            return failures | dict.fromkeys((task for task in tasks if task not in failures), error)
        for (task, index, _, vector), known in zip(questions, found, strict=True):
            task.facts[index] = replace(task.facts[index], vector=vector, known=known)
        return failures

    # From plans to outcomes.

    def _propose(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            waiting = task.waiting
            found = proposals(self._services, list(waiting.values()))
            for (place, operation), result in zip(waiting.items(), found, strict=True):
                task.outcomes[place] = ItemOutcome(operation, result=result)

    def _carry_out(self, tasks: Sequence[Task]) -> None:
        cancelled = {task.work.job_id for task in tasks if task.work.cancelled}
        pending = list(tasks)
        while pending:
            self._embed_what_is_new(pending)
            waiting = [(task, place) for task in pending for place in task.waiting]
            operations = [task.work.operations[place] for task, place in waiting]
            outcomes = apply_operations(operations, self._services, cancelled=cancelled, vectors=self._vectors.texts)
            for (task, place), outcome in zip(waiting, outcomes, strict=True):
                task.outcomes[place] = outcome
            pending = [task for task in pending if self._decide_anew(task)]

    def _embed_what_is_new(self, tasks: Sequence[Task]) -> None:
        """Vectors for what memories shall say that is not the fact itself; only the model knew it before."""
        self._vectors.embed(
            {
                task: [each.text for each in task.waiting.values() if each.op == "update" and each.text]
                for task in tasks
                if not task.work.cancelled
            }
        )
        for task in tasks:
            if task.spent:
                try:
                    self._stages.record(task, task.take_spent())
                except Overtaken:
                    task.end(busy=True)

    def _decide_anew(self, task: Task) -> bool:
        """Plans anew what rested on a memory that is another one by now; True when there is something to carry out."""
        most = self._services.settings.inference_redecisions
        facts = []
        for place, outcome in list(task.outcomes.items()):
            operation = outcome.operation
            # A dead letter of an erased memory does not know the fact any more.
            if not _has_lost_its_base(outcome) or not (operation.fact or operation.text):
                continue
            is_gone = outcome.error is not None and outcome.error.error_code != _CHANGED
            if is_gone:
                self._added_to(task).forget(operation.memory_id)
            if operation.op in ("delete", "hold") and (is_gone or operation.redecided >= most):
                task.outcomes[place] = _nothing(operation, MEMORY_GONE if is_gone else MEMORY_CHANGED)
            else:
                del task.outcomes[place]
                facts.append(candidate_again(task.work.documents[place], place, task.work.documents))
        if not facts:
            return False
        task.facts = facts
        for error in self._look_up([task]).values():
            task.end(error=error)
            return False
        return self._go_on(task, self._planned_anew)

    def _planned_anew(self, task: Task) -> None:
        most = self._services.settings.inference_redecisions
        plan = self._plan_of(task, {each.place for each in task.facts if each.place is not None})
        given_up = {
            index: [Decision(index, Verdict.ADD, fallback=MEMORY_CHANGED)]
            for index, each in enumerate(task.facts)
            if each.redecided > most
        }
        asked = [index for index in plan.undecided(task.facts) if index not in given_up]
        decided = self._stages.decide(task, task.facts, asked)
        idle = plan.fill(task.facts, {**decided.decisions, **given_up}, decided.neighbours, decided.prompt)
        spent = {**task.take_spent(), **decided.spent}
        self._stages.store(task, Draft(task.work, task.work.head, plan.documents, spent, decided.prompts))
        for place in idle:
            task.outcomes[place] = _nothing(task.work.operations[place], MEMORY_CHANGED)

    def _go_on(self, task: Task, step: Callable[[Task], Any]) -> bool:
        """Takes one step that may ask the chat model, unless the job is cancelled by now; False when the task ended."""
        try:
            if self._stages.has_model and self._is_cancelled(task):
                task.end(cancelled=True)
            else:
                self._take(task, step)
        except Overtaken:
            task.end(busy=True)
        return bool(task.waiting)

    def _take(self, task: Task, step: Callable[[Task], Any]) -> None:
        try:
            step(task)
        except EmendoError as error:
            self._stages.record(task, task.take_spent())
            task.end(error=error)

    def _is_cancelled(self, task: Task) -> bool:
        services = self._services
        return bool(services.control.sismember(services.keys.cancelling, task.work.job_id))


def _has_lost_its_base(outcome: ItemOutcome) -> bool:
    code = outcome.error.error_code if outcome.error is not None else ""
    return outcome.operation.op != "add" and code in (_CHANGED, *_GONE)


def _nothing(operation: Operation, why: str) -> ItemOutcome:
    """The outcome of a delete that has nothing to do any more."""
    result = {"memory_id": operation.memory_id, "event": None, "version": None, "error": None}
    return ItemOutcome(replace(operation, decision=Verdict.NONE.value, fallback=why), result=result)
