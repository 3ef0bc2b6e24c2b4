"""From decisions to a plan: the operations that carry them out. Pure.

At most one operation changes a memory: a second UPDATE becomes an ADD, a second DELETE is left out. A fact that a
memory states already, word for word or nearly, is NONE. Beyond the limit, changes that lose content wait for a person.
A fact that fits nowhere else is an ADD; no fact is lost.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from emendo_client.requests.operations import Document, new_memory_id
from emendo_workers.inference.candidates import Candidate
from emendo_workers.inference.kept_words import drops_most
from emendo_workers.inference.similarity import PendingAdds, is_near_duplicate, normalized
from emendo_workers.inference.types import Action, Decision, Neighbour, SearchHit

# Why a decision is not the chat model's.
MEMORY_TAKEN = "MEMORY_TAKEN"  # another fact of the same plan changes that memory
MEMORY_CHANGED = "MEMORY_CHANGED"  # others kept changing it
MEMORY_GONE = "MEMORY_GONE"  # the memory to delete does not exist any more

_CHANGES = ("update", "delete", "hold", "hold_update")
# The operations for changes that wait for a person.
_HELD = {"delete": "hold", "update": "hold_update"}


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a plan.

    Attributes:
        near_duplicate: the least cosine similarity at which a memory states a fact already.
        losses: how many changes of one plan lose content.
    """

    near_duplicate: float
    losses: int


class Plan:
    """Builds the plan of one add.

    Args:
        record_id: the ids of new memories come from it.
        limits: see `Limits`.
        pending_adds: the memories about to be added to the scope, by this plan and others.
        documents: the plan so far, when some of its facts are decided again.
        replaced: the places of their operations.

    Attributes:
        documents: the operations.
        commits: for each memory that they are about, the commit that made the version a decision saw.
    """

    def __init__(
        self,
        record_id: str,
        limits: Limits,
        pending_adds: PendingAdds,
        documents: Sequence[Document] = (),
        replaced: Collection[int] = (),
    ) -> None:
        self.documents = list(documents)
        self.commits: dict[str, str] = {}
        kept = [document for place, document in enumerate(documents) if place not in replaced]
        self._record_id = record_id
        self._limits = limits
        self._pending_adds = pending_adds
        self._taken = {document["memory_id"] for document in kept if document["op"] in _CHANGES}
        self._kept = frozenset(range(len(documents))).difference(replaced)
        self._targets: set[str] = set()
        self._updated: dict[str, str] = {}
        self._prompt = ""
        self._before: Mapping[str, str] = {}
        self._place: int | None = None

    @property
    def losses(self) -> int:
        """How many of the changes lose content."""
        return sum(map(_loses, self.documents))

    @property
    def has_held_updates(self) -> bool:
        """True when the plan has an operation that earlier releases do not know."""
        return any(document["op"] == _HELD["update"] for document in self.documents)

    def hold_losses(self, most: int) -> None:
        """Leaves new changes that lose content to a person, beyond so many of the whole plan."""
        losses = sum(_loses(self.documents[place]) for place in self._kept)
        for place, document in enumerate(self.documents):
            if place not in self._kept and _loses(document):
                losses += 1
                if losses > most:
                    self.documents[place] = {**document, "op": _HELD[document["op"]]}

    def undecided(self, candidates: Sequence[Candidate]) -> list[int]:
        """The indices of facts that no memory, and no other of the facts, states already."""
        seen: set[str] = set()
        found = []
        for index, candidate in enumerate(candidates):
            text = normalized(candidate.text)
            if candidate.only_deletes or not (text in seen or self._stated_by(candidate)):
                found.append(index)
            seen.add(text)
        return found

    def fill(
        self,
        candidates: Sequence[Candidate],
        decided: Mapping[int, Sequence[Decision]],
        neighbours: Sequence[Neighbour],
        prompt: str = "",
        before: Mapping[str, str] | None = None,
    ) -> set[int]:
        """Adds the facts' operations; a fact that is decided again gets its operation in its old place.

        Args:
            candidates: the facts.
            decided: the decisions about `undecided` facts, by their index.
            neighbours: the memories the decisions are about.
            prompt: the version of the prompt that asked.
            before: the texts that updates are held against, by memory; without one it is the memory's text.

        Returns:
            Places of facts decided again that need no operation any more.
        """
        self._prompt = prompt
        self._before = before or {}
        self._targets = {
            neighbours[decision.neighbour].memory_id
            for decisions in decided.values()
            for decision in decisions
            if decision.neighbour is not None and decision.action is not Action.NONE
        }
        unused = set()
        for index, candidate in enumerate(candidates):
            self._place = candidate.place
            if index in decided:
                for decision in decided[index]:
                    self._carry_out(candidate, decision, neighbours)
            else:
                self._repeat(candidate)
            if self._place is not None:
                unused.add(self._place)
        return unused

    def _carry_out(self, candidate: Candidate, decision: Decision, neighbours: Sequence[Neighbour]) -> None:
        if candidate.only_deletes and decision.action is not Action.DELETE:
            return
        if decision.neighbour is None:
            self._add(candidate, decision)
            return
        memory = neighbours[decision.neighbour]
        is_taken = memory.memory_id in self._taken
        if decision.action is Action.NONE:
            self._put(candidate, decision, "none", memory.memory_id, seen=memory)
        elif decision.action is Action.UPDATE and is_taken:
            self._add(candidate, replace(decision, action=Action.ADD, fallback=MEMORY_TAKEN))
        elif decision.action is Action.UPDATE:
            loses = drops_most(self._before.get(memory.memory_id, memory.text), decision.text)
            self._updated[normalized(candidate.text)] = memory.memory_id
            self._put(candidate, decision, "update", memory.memory_id, seen=memory, text=decision.text, loses=loses)
        elif not is_taken:
            self._put(candidate, decision, "delete", memory.memory_id, seen=memory)

    def _add(self, candidate: Candidate, decision: Decision) -> None:
        if decision.fallback != MEMORY_CHANGED:  # otherwise the memory near it keeps changing
            for hit in candidate.hits:
                is_target = hit.memory.memory_id in self._targets
                if not is_target and is_near_duplicate(
                    candidate.text, hit.memory.text, hit.score, self._limits.near_duplicate
                ):
                    self._none(candidate, decision, hit)
                    return
            added = self._pending_adds.find_near(candidate.text, candidate.vector)
            if added:
                self._none(candidate, decision, added)
                return
        place = len(self.documents) if self._place is None else self._place
        memory_id = new_memory_id(self._record_id, place)
        self._pending_adds.add(memory_id, candidate.text, candidate.vector)
        self._put(candidate, decision, "add", memory_id, text=candidate.text)

    def _repeat(self, candidate: Candidate) -> None:
        """A fact that is stated already. If only another fact's delete stands for it, nothing is planned."""
        stated_by = self._stated_by(candidate) or self._updated.get(normalized(candidate.text))
        if stated_by:
            self._none(candidate, Decision(0, Action.NONE), stated_by)

    def _none(self, candidate: Candidate, decision: Decision, stated_by: SearchHit | str) -> None:
        decision = replace(decision, action=Action.NONE)
        if isinstance(stated_by, str):
            self._put(candidate, decision, "none", stated_by)
        else:
            self._put(candidate, decision, "none", stated_by.memory.memory_id, seen=stated_by.memory)

    def _put(
        self,
        candidate: Candidate,
        decision: Decision,
        op: str,
        memory_id: str,
        *,
        seen: Neighbour | None = None,
        text: str = "",
        loses: bool = False,
    ) -> None:
        if seen is not None and seen.commit_id:
            self.commits[memory_id] = seen.commit_id
        if op in _CHANGES:
            self._taken.add(memory_id)
        document = {
            "op": op,
            "memory_id": memory_id,
            "text": text,
            "expected_version": seen.version if seen is not None else 0,
            "decision": decision.action.value,
            "reason": decision.reason,
            "fallback": decision.fallback,
            "prompt": self._prompt,
            "fact": "" if text == candidate.text else candidate.text,
            "redecided": candidate.redecided,
            "loses": loses,
            **candidate.carried,
        }
        if document.get("source") == text:
            del document["source"]  # the message is the memory's text
        document = {name: value for name, value in document.items() if value or name == "metadata"}
        if self._place is None:
            self.documents.append(document)
        else:
            self.documents[self._place] = document
            self._place = None

    def _stated_by(self, candidate: Candidate) -> SearchHit | str | None:
        """The memory that states the fact; only its id, when it is about to be added."""
        wanted = normalized(candidate.text)
        hits = (hit for hit in candidate.hits if normalized(hit.memory.text) == wanted)
        return next(hits, None) or self._pending_adds.find_same(candidate.text)


def _loses(document: Document) -> bool:
    return bool(document["op"] == "delete" or (document["op"] == "update" and document.get("loses")))
