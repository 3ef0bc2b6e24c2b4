"""What the stages of inference hand to one another."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What a fact does to what is known."""

    ADD = "ADD"  # nothing known says it
    UPDATE = "UPDATE"  # a memory says it differently, or less of it
    DELETE = "DELETE"  # a memory is no longer so, and nothing takes its place
    NONE = "NONE"  # a memory says it already


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the conversation; system messages are context and never a source of facts."""

    role: str
    content: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """What a project asks of inference: instructions in its own words, and the categories facts are sorted into."""

    instructions: str = ""
    categories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact, in a sentence that stands alone.

    Attributes:
        source: the index of the message that says it.
        category: one of the project's; None when it has none, or none fits.
    """

    text: str
    source: int
    category: str | None = None


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A memory of the scope that may be about the same as a fact.

    Attributes:
        version: what a decision about it is based on.
    """

    memory_id: str
    text: str
    version: int


@dataclass(frozen=True, slots=True)
class Decision:
    """What one fact does to at most one memory.

    Attributes:
        fact: its index in the list that was asked about.
        neighbour: the index of the memory it is about; None for ADD.
        text: of ADD and UPDATE: what the memory will say; empty otherwise.
        reason: the model's, in a few words.
        fallback: why the model's answer could not be taken and this is an ADD instead; empty when it could.
    """

    fact: int
    verdict: Verdict
    neighbour: int | None = None
    text: str = ""
    reason: str = ""
    fallback: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """What was asked of the chat model."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.requests + other.requests,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )


@dataclass(frozen=True, slots=True)
class Extraction:
    """The facts of a conversation, in the order they were said.

    Attributes:
        refusals: why answers could not be taken and were asked for once more.
    """

    facts: tuple[Fact, ...]
    usage: Usage
    refusals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decisions:
    """At least one decision for every fact, in the facts' order; further ones of a fact are DELETE.

    Attributes:
        refusals: why answers could not be taken, one for each fact and asking.
    """

    decisions: tuple[Decision, ...]
    usage: Usage
    refusals: tuple[str, ...] = ()
