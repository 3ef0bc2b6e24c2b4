"""From decisions to a plan: the operations that carry them out, and what is not to be done. Pure.

At most one operation changes a memory: a second UPDATE is an ADD, a second DELETE is left out. A fact that is known
already, word for word or nearly, is NONE. Deletes beyond the limit wait for a person. A fact for which there is no
better way is an ADD, never nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from emendo_client.operations import Document, new_memory_id
from emendo_workers.inference.likeness import Added, is_near, spelling
from emendo_workers.inference.scope import Known
from emendo_workers.inference.types import Decision, Neighbour, Verdict

# Why a decision is not the chat model's.
MEMORY_TAKEN = "MEMORY_TAKEN"  # another fact of the same plan changes that memory
MEMORY_CHANGED = "MEMORY_CHANGED"  # others kept changing it
MEMORY_GONE = "MEMORY_GONE"  # what was to be deleted is not there any more
NO_CHAT_MODEL = "NO_CHAT_MODEL"  # a worker without one had to decide anew

# What comes along from the conversation, whatever becomes of a fact.
CARRIED = ("user_id", "agent_id", "run_id", "metadata", "expires_at", "actor_id", "role", "source")
_CHANGES = ("update", "delete", "hold")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A fact, and what is known near it.

    Attributes:
        carried: fields of CARRIED.
        known: nearest first.
        vector: of the text, float32[dimensions] bytes; None when it has none, so that nothing is near it.
        place: where its operation stands in the plan, when it is decided anew.
        only_deletes: when it is decided anew: another operation says the fact, this one only deletes.
        redecided: how often it was decided anew.
    """

    text: str
    carried: Document = field(default_factory=dict)
    known: Sequence[Known] = ()
    vector: bytes | None = None
    place: int | None = None
    only_deletes: bool = False
    redecided: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """What a plan may do.

    Attributes:
        near: cosine similarity from which a fact is a known one.
        deletes: memories one plan deletes.
    """

    near: float
    deletes: int


class Plan:
    """The plan of one add in the making.

    Args:
        record_id: names the memories it adds.
        limits: what it may do.
        added: what is about to be added to the scope, by this plan and others.
        documents: the plan so far, when facts of it are decided anew.
        replaced: the places of their operations.
    """

    def __init__(
        self,
        record_id: str,
        limits: Limits,
        added: Added,
        documents: Sequence[Document] = (),
        replaced: Collection[int] = (),
    ) -> None:
        self.documents = list(documents)
        kept = [document for place, document in enumerate(documents) if place not in replaced]
        self._record_id = record_id
        self._limits = limits
        self._added = added
        self._taken = {document["memory_id"] for document in kept if document["op"] in _CHANGES}
        self._deletes = sum(document["op"] == "delete" for document in kept)
        self._doomed: set[str] = set()
        self._updated: dict[str, str] = {}
        self._prompt = ""
        self._place: int | None = None

    def undecided(self, candidates: Sequence[Candidate]) -> list[int]:
        """The indices of the facts that are not said already, by a memory or by another of the facts."""
        seen: set[str] = set()
        found = []
        for index, candidate in enumerate(candidates):
            said = spelling(candidate.text)
            if candidate.only_deletes or not (said in seen or self._said_by(candidate)):
                found.append(index)
            seen.add(said)
        return found

    def fill(
        self,
        candidates: Sequence[Candidate],
        decided: Mapping[int, Sequence[Decision]],
        neighbours: Sequence[Neighbour],
        prompt: str = "",
    ) -> set[int]:
        """Adds what is to be done about the facts, or puts it in the places of those that are decided anew.

        Args:
            candidates: the facts.
            decided: the decisions about those that are not said already, by their index.
            neighbours: what the decisions are about.
            prompt: the version of the prompt that asked.

        Returns:
            Places of facts decided anew for which nothing is left to do.
        """
        self._prompt = prompt
        self._doomed = {
            neighbours[decision.neighbour].memory_id
            for decisions in decided.values()
            for decision in decisions
            if decision.neighbour is not None and decision.verdict is not Verdict.NONE
        }
        idle = set()
        for index, candidate in enumerate(candidates):
            self._place = candidate.place
            if index in decided:
                for decision in decided[index]:
                    self._carry_out(candidate, decision, neighbours)
            else:
                self._repeat(candidate)
            if self._place is not None:
                idle.add(self._place)
        return idle

    def _carry_out(self, candidate: Candidate, decision: Decision, neighbours: Sequence[Neighbour]) -> None:
        if candidate.only_deletes and decision.verdict is not Verdict.DELETE:
            return
        if decision.neighbour is None:
            self._add(candidate, decision)
            return
        memory = neighbours[decision.neighbour]
        is_taken = memory.memory_id in self._taken
        if decision.verdict is Verdict.NONE:
            self._put(candidate, decision, "none", memory.memory_id, version=memory.version)
        elif decision.verdict is Verdict.UPDATE and is_taken:
            self._add(candidate, replace(decision, verdict=Verdict.ADD, fallback=MEMORY_TAKEN))
        elif decision.verdict is Verdict.UPDATE:
            self._updated[spelling(candidate.text)] = memory.memory_id
            self._put(candidate, decision, "update", memory.memory_id, version=memory.version, text=decision.text)
        elif not is_taken:
            is_held = self._deletes >= self._limits.deletes
            self._deletes += not is_held
            op = "hold" if is_held else "delete"
            self._put(candidate, decision, op, memory.memory_id, version=memory.version)

    def _add(self, candidate: Candidate, decision: Decision) -> None:
        if decision.fallback != MEMORY_CHANGED:  # that one has been a NONE, and was not believed
            for known in candidate.known:
                doomed = known.memory.memory_id in self._doomed
                if not doomed and is_near(candidate.text, known.memory.text, known.score, self._limits.near):
                    self._none(candidate, decision, known)
                    return
            added = self._added.near(candidate.text, candidate.vector)
            if added:
                self._none(candidate, decision, added)
                return
        place = len(self.documents) if self._place is None else self._place
        memory_id = new_memory_id(self._record_id, place)
        self._added.put(memory_id, candidate.text, candidate.vector)
        self._put(candidate, decision, "add", memory_id, text=candidate.text)

    def _repeat(self, candidate: Candidate) -> None:
        """A fact that is said already; nothing, when what says it is only another fact's delete."""
        said = self._said_by(candidate) or self._updated.get(spelling(candidate.text))
        if said:
            self._none(candidate, Decision(0, Verdict.NONE), said)

    def _none(self, candidate: Candidate, decision: Decision, said: Known | str) -> None:
        decision = replace(decision, verdict=Verdict.NONE)
        if isinstance(said, str):
            self._put(candidate, decision, "none", said)
        else:
            self._put(candidate, decision, "none", said.memory.memory_id, version=said.memory.version)

    def _put(
        self, candidate: Candidate, decision: Decision, op: str, memory_id: str, *, version: int = 0, text: str = ""
    ) -> None:
        if op in _CHANGES:
            self._taken.add(memory_id)
        document = {
            "op": op,
            "memory_id": memory_id,
            "text": text,
            "expected_version": version,
            "decision": decision.verdict.value,
            "reason": decision.reason,
            "fallback": decision.fallback,
            "prompt": self._prompt,
            "fact": "" if text == candidate.text else candidate.text,
            "redecided": candidate.redecided,
            **candidate.carried,
        }
        if document.get("source") == text:
            del document["source"]  # of a message that is the memory
        document = {name: value for name, value in document.items() if value or name == "metadata"}
        if self._place is None:
            self.documents.append(document)
        else:
            self.documents[self._place] = document
            self._place = None

    def _said_by(self, candidate: Candidate) -> Known | str | None:
        """The memory that says the fact; its id, when it is only about to be added."""
        wanted = spelling(candidate.text)
        known = (known for known in candidate.known if spelling(known.memory.text) == wanted)
        return next(known, None) or self._added.same(candidate.text)


def neighbours_of(candidates: Sequence[Candidate]) -> list[Neighbour]:
    """What is known near the facts, each memory once, the nearest first."""
    nearest: dict[str, Known] = {}
    for known in (known for candidate in candidates for known in candidate.known):
        before = nearest.get(known.memory.memory_id)
        if before is None or known.score > before.score:
            nearest[known.memory.memory_id] = known
    return [known.memory for known in sorted(nearest.values(), key=lambda known: -known.score)]
