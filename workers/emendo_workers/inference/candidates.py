"""The facts of a conversation as candidates for a plan. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from emendo_client.requests.content import STORED_ROLES
from emendo_client.requests.operations import Document
from emendo_workers.inference.types import Fact, Message, Neighbour, SearchHit
from emendo_workers.jobs.operations import Infer
from emendo_workers.jobs.redaction import fact_digest

# The longest part of a message that is kept with the changes it caused, in characters.
MAX_SOURCE = 500
# Fields that every operation of a plan takes over from the conversation.
CARRIED = ("user_id", "agent_id", "run_id", "metadata", "expires_at", "actor_id", "role", "source")
# The fallback when a worker without a chat model decides again what a model had decided.
NO_CHAT_MODEL = "NO_CHAT_MODEL"
_DELETES = ("delete", "hold")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A fact, and the memories near it.

    Attributes:
        carried: fields of CARRIED.
        hits: nearest first.
        vector: of the text, float32[dimensions] bytes; None when it has none, and then no memory is near it.
        place: of its operation in the plan, when the fact is decided again.
        only_deletes: when the fact is decided again: another operation states the fact, this one only deletes.
        redecided: how often the fact was decided again.
        fallback: of its decision, if there is no chat model.
    """

    text: str
    carried: Document = field(default_factory=dict)
    hits: Sequence[SearchHit] = ()
    vector: bytes | None = None
    place: int | None = None
    only_deletes: bool = False
    redecided: int = 0
    fallback: str = ""


def conversation_of(operation: Infer) -> list[Message]:
    """The messages of a conversation."""
    return [Message(each["role"], each["content"], each.get("name")) for each in operation.messages]


def messages_as_facts(operation: Infer) -> list[Fact]:
    """Each user or assistant message as a fact, for workers without a chat model."""
    return [
        Fact(message.content, source)
        for source, message in enumerate(conversation_of(operation))
        if message.role in STORED_ROLES
    ]


def fact_documents(facts: Sequence[Fact]) -> list[Document]:
    """Facts as the payload of a conversation keeps them."""
    return [
        {"text": fact.text, "source": fact.source, **({"category": fact.category} if fact.category else {})}
        for fact in facts
    ]


def candidates_of(operation: Infer) -> list[Candidate]:
    """The facts of a conversation, each with the fields it carries over."""
    messages = conversation_of(operation)
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
    """The fact of a planned operation, to be decided again in its place."""
    fact = _fact_of(document)
    digest = fact_digest(fact)  # of an operation that is settled
    stated_elsewhere = any(
        other is not document and _fact_of(other) in (fact, digest) and other["op"] not in _DELETES
        for other in documents
    )
    return Candidate(
        fact,
        {name: document[name] for name in CARRIED if name in document},
        place=place,
        only_deletes=document["op"] in _DELETES and stated_elsewhere,
        redecided=document.get("redecided", 0) + 1,
        fallback=NO_CHAT_MODEL if "prompt" in document else "",
    )


def neighbours_of(candidates: Sequence[Candidate]) -> list[Neighbour]:
    """The memories near the facts, each once, the nearest first."""
    nearest: dict[str, SearchHit] = {}
    for hit in (hit for candidate in candidates for hit in candidate.hits):
        before = nearest.get(hit.memory.memory_id)
        if before is None or hit.score > before.score:
            nearest[hit.memory.memory_id] = hit
    return [hit.memory for hit in sorted(nearest.values(), key=lambda hit: -hit.score)]


def _fact_of(document: Document) -> str:
    return str(document.get("fact", document.get("text", "")))


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_SOURCE else text[: MAX_SOURCE - 1] + "…"
