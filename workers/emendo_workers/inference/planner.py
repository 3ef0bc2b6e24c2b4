"""From conversations to stored plans: find facts, search their neighbours, decide, plan.

Facts whose memory has changed before their operation was carried out take the same way again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from emendo_client.errors import EmendoError, VectorStoreError
from emendo_client.requests.operations import Document
from emendo_config.store.format_versions import FORMAT, PAYLOAD_WITH_PENDING_UPDATES
from emendo_workers.inference.candidates import Candidate, candidate_again, candidates_of
from emendo_workers.inference.inferred_add import InferredAdd
from emendo_workers.inference.known_memories import search
from emendo_workers.inference.losses import granted_losses, texts_before
from emendo_workers.inference.payloads import NewPayload, store_payloads
from emendo_workers.inference.plan import MEMORY_CHANGED, Limits, Plan
from emendo_workers.inference.similarity import PendingAdds
from emendo_workers.inference.stages import DecidedFacts, Stages
from emendo_workers.inference.types import Action, Decision
from emendo_workers.inference.vectors import Vectors
from emendo_workers.jobs.operations import Add
from emendo_workers.jobs.work import COMMITS, DRY_RUN, PLANNED
from emendo_workers.services import Services

# The note on jobs that were worked without a chat model.
DEGRADED = "no chat model is configured: messages are stored as they are"


class Planner:
    """Plans the adds of one attempt; what one add is about to add, the next one in its scope knows."""

    def __init__(self, services: Services, stages: Stages, vectors: Vectors) -> None:
        settings = services.settings
        self._store = services.store
        self._stages = stages
        self._vectors = vectors
        self._limits = Limits(settings.near_duplicate, settings.inference_max_deletes)
        self._most_redecisions = settings.inference_redecisions
        self._pending_adds: dict[str, PendingAdds] = {}

    def make_plans(self, new: Sequence[InferredAdd], planned: Sequence[InferredAdd]) -> None:
        """Plans the new adds; of plans made by an earlier attempt, drops adds that others have made meanwhile."""
        for add in new:
            if self._stages.run_step(add, self._stages.find_facts):
                add.facts = candidates_of(add.conversation)
        for add in planned:
            add.facts = self._missing_adds(add)
        failures = self._find_neighbours([add for add in (*new, *planned) if add.waiting])
        for add in planned:
            if add not in failures:  # otherwise its missing memories will fail for the same reason
                self._drop_stated_facts(add)
        for add in new:  # in the order of submission: the next add knows what this one adds
            if add in failures:
                add.end(error=failures[add])
            elif add.waiting:
                self._stages.run_step(add, self._plan)
        payloads = {add: add.new_payload for add in (*planned, *new) if add.new_payload is not None}
        for add, stored in zip(payloads, store_payloads(self._store, list(payloads.values())), strict=True):
            if stored is None:
                add.end(busy=True)
            else:
                add.work = stored

    def plan_again(self, add: InferredAdd, facts: list[Candidate]) -> set[int]:
        """Decides these facts of a plan again, and stores the plan; if that fails, the add ends.

        Returns:
            Places of facts that need no operation any more.
        """
        add.facts = facts
        unused: set[int] = set()
        failures = self._find_neighbours([add])
        if add in failures:
            add.end(error=failures[add])
        else:
            self._stages.run_step(add, lambda add: unused.update(self._plan_again(add)))
        return unused

    def discard_pending_add(self, add: InferredAdd, memory_id: str) -> None:
        """Forgets a memory that this run was about to add; it is gone again."""
        self._pending_adds_of(add).discard(memory_id)

    def _plan(self, add: InferredAdd) -> None:
        plan = self._plan_of(add)
        asked = plan.undecided(add.facts)
        decided = self._stages.decide(add, add.facts, asked)
        self._fill(add, plan, decided.decisions, decided)
        head = {**_head(add, plan), PLANNED: True}
        if add.conversation.dry_run:
            head[DRY_RUN] = True
        add.new_payload = NewPayload(
            add.work,
            head,
            plan.documents,
            {**add.take_spent(), **decided.spent},
            decided.prompts,
            "" if self._stages.has_model else DEGRADED,
        )

    def _plan_again(self, add: InferredAdd) -> set[int]:
        plan = self._plan_of(add, {each.place for each in add.facts if each.place is not None})
        given_up = {
            index: [Decision(index, Action.ADD, fallback=MEMORY_CHANGED)]
            for index, each in enumerate(add.facts)
            if each.redecided > self._most_redecisions
        }
        asked = [index for index in plan.undecided(add.facts) if index not in given_up]
        decided = self._stages.decide(add, add.facts, asked)
        unused = self._fill(add, plan, {**decided.decisions, **given_up}, decided)
        spent = {**add.take_spent(), **decided.spent}
        self._stages.store(add, NewPayload(add.work, _head(add, plan), plan.documents, spent, decided.prompts))
        return unused

    def _fill(
        self, add: InferredAdd, plan: Plan, decisions: Mapping[int, Sequence[Decision]], decided: DecidedFacts
    ) -> set[int]:
        """See `Plan.fill`; what loses content beyond the limit waits for a person."""
        before = texts_before(self._store, add, decisions, decided.neighbours)
        unused = plan.fill(add.facts, decisions, decided.neighbours, decided.prompt, before)
        if plan.losses:
            plan.hold_losses(granted_losses(self._store, add, plan.losses, self._limits.losses))
        return unused

    def _missing_adds(self, add: InferredAdd) -> list[Candidate]:
        """The facts that the plan of an earlier attempt adds, and whose memory does not exist yet."""
        if add.work.cancelled:
            return []
        adds = [
            (place, operation)
            for place, operation in add.waiting.items()
            if isinstance(operation, Add) and operation.fallback != MEMORY_CHANGED
        ]
        pipeline = self._store.data.pipeline(transaction=False)
        for _, operation in adds:
            pipeline.exists(self._store.keys.memory(operation.memory_id))
        return [
            candidate_again(add.work.documents[place], place, add.work.documents)
            for (place, _), exists in zip(adds, pipeline.execute(), strict=True)
            if not exists
        ]

    def _drop_stated_facts(self, add: InferredAdd) -> None:
        """The plan without facts that a memory states by now: others held the scope since it was made."""
        before = add.work.documents
        places = {candidate.place for candidate in add.facts if candidate.place is not None}
        plan = self._plan_of(add, places)
        plan.fill(add.facts, {index: [Decision(index, Action.ADD)] for index in plan.undecided(add.facts)}, [])
        stated = {place: plan.documents[place] for place in places if plan.documents[place]["op"] == "none"}
        if stated:
            documents = [stated.get(place, document) for place, document in enumerate(before)]
            add.new_payload = NewPayload(add.work, _head(add, plan), documents, add.take_spent())

    def _plan_of(self, add: InferredAdd, replaced: Collection[int] = ()) -> Plan:
        so_far = add.work.documents if add.work.is_planned else ()
        return Plan(add.work.record_id, self._limits, self._pending_adds_of(add), so_far, replaced)

    def _pending_adds_of(self, add: InferredAdd) -> PendingAdds:
        return self._pending_adds.setdefault(add.scope, PendingAdds(self._limits.near_duplicate))

    def _find_neighbours(self, adds: Sequence[InferredAdd]) -> dict[InferredAdd, EmendoError]:
        """Embeds the facts of the adds, in one request, and searches the memories near them, in one round trip.

        Returns:
            The errors of adds that cannot be worked on now.
        """
        texts = {add: [each.text for each in add.facts] for add in adds}
        self._vectors.embed(texts)
        failures = {add: error for add in adds if (error := self._vectors.failure(texts[add])) is not None}
        queries = [
            (add, index, add.scoped, vector)
            for add in adds
            if add not in failures and add.scoped is not None
            for index, each in enumerate(add.facts)
            if (vector := self._vectors.of(each.text)) is not None
        ]
        try:
            found = search(self._store, self._vectors.space, [(scoped, vector) for _, _, scoped, vector in queries])
        except VectorStoreError as error:  # the next attempt begins in the new space
            return failures | dict.fromkeys((add for add in adds if add not in failures), error)
        for (add, index, _, vector), hits in zip(queries, found, strict=True):
            add.facts[index] = replace(add.facts[index], vector=vector, hits=hits)
        return failures


def _head(add: InferredAdd, plan: Plan) -> Document:
    """The head of the payload, with the commits that the plan rests on."""
    commits = {**add.work.head.get(COMMITS, {}), **plan.commits}
    head = {**add.work.head, COMMITS: commits} if commits else add.work.head
    return {**head, FORMAT: PAYLOAD_WITH_PENDING_UPDATES} if plan.has_held_updates else head
