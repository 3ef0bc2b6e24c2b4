"""One add on its way through inference: its conversation, what was found in it, what became of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emendo_client.operations import Document
from emendo_client.validation import STORED_ROLES
from emendo_workers.inference.planning import CARRIED, Candidate
from emendo_workers.inference.plans import Draft
from emendo_workers.inference.types import Fact, Message
from emendo_workers.operations import Operation, Work
from emendo_workers.outcomes import ItemOutcome

# Longest part of a message that is kept with the changes it caused, in characters.
MAX_SOURCE = 500


class Task:
    """One attempt at one job, or at one chunk of a batch job.

    Attributes:
        work: with the payload that the record has just now.
        facts: to be planned, or to be decided anew.
        spent: on embedding, by the fields of `emendo_config.usage`, as far as it is not recorded yet.
        draft: what its payload is to become.
        outcomes: by the operation's place, as far as they are known.
    """

    def __init__(self, work: Work) -> None:
        self.work = work
        self.facts: list[Candidate] = []
        self.spent: dict[str, int] = {}
        self.draft: Draft | None = None
        self.outcomes: dict[int, ItemOutcome] = {}

    @property
    def waiting(self) -> dict[int, Operation]:
        """The operations without an outcome yet, by their place."""
        known = {*self.work.settled, *self.outcomes}
        return {place: operation for place, operation in enumerate(self.work.operations) if place not in known}

    @property
    def about(self) -> Operation | None:
        """An operation that knows the scope: any whose memory is not erased. None when there is nothing to do."""
        operations = self.work.operations
        known = (each for each in operations if each.user_id or each.agent_id or each.run_id)
        return next(known, next(iter(operations), None))

    @property
    def items(self) -> list[ItemOutcome]:
        """What became of the operations this attempt was about, in their order."""
        return [self.outcomes[place] for place in range(len(self.work.operations)) if place not in self.work.settled]

    def take_spent(self) -> dict[str, int]:
        """What was spent since the last time, to be recorded now."""
        spent, self.spent = self.spent, {}
        return spent

    def end(self, **what: Any) -> None:
        """Gives all that waits the same outcome."""
        self.outcomes |= {place: ItemOutcome(operation, **what) for place, operation in self.waiting.items()}


def conversation(operation: Operation) -> list[Message]:
    """The messages of an infer."""
    return [Message(each["role"], each["content"], each.get("name")) for each in operation.messages or []]


def facts_as_said(operation: Operation) -> list[Fact]:
    """Each user or assistant message as a fact, for want of a chat model."""
    return [
        Fact(message.content, source)
        for source, message in enumerate(conversation(operation))
        if message.role in STORED_ROLES
    ]


def fact_documents(facts: Sequence[Fact]) -> list[Document]:
    """Facts as an infer keeps them."""
    return [
        {"text": fact.text, "source": fact.source, **({"category": fact.category} if fact.category else {})}
        for fact in facts
    ]


def candidates(operation: Operation) -> list[Candidate]:
    """The facts of an infer, each with what comes along from the conversation."""
    messages = conversation(operation)
    found = []
    for each in operation.facts or []:
        message = messages[each["source"]]
        metadata = dict(operation.metadata or {})
        if "category" in each:
            metadata.setdefault("category", each["category"])
        carried = {
            "user_id": operation.user_id,
            "agent_id": operation.agent_id,
            "run_id": operation.run_id,
            "metadata": metadata,
            "expires_at": operation.expires_at,
            "actor_id": message.name,
            "role": message.role,
            "source": _shortened(message.content),
        }
        found.append(Candidate(each["text"], {name: value for name, value in carried.items() if value is not None}))
    return found


def candidate_again(document: Document, place: int, documents: Sequence[Document]) -> Candidate:
    """The fact of a planned operation, to be decided anew in its place."""
    fact = _fact_of(document)
    is_delete = document["op"] in ("delete", "hold")
    said_elsewhere = any(
        other is not document and _fact_of(other) == fact and other["op"] not in ("delete", "hold")
        for other in documents
    )
    return Candidate(
        fact,
        {name: document[name] for name in CARRIED if name in document},
        place=place,
        only_deletes=is_delete and said_elsewhere,
        redecided=document.get("redecided", 0) + 1,
    )


def _fact_of(document: Document) -> str:
    return str(document.get("fact", document.get("text", "")))


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_SOURCE else text[: MAX_SOURCE - 1] + "…"
