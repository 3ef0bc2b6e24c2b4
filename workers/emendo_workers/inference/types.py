"""The values that the stages of inference pass on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from emendo_client.providers.chat import Usage


class Action(StrEnum):
    """The effect of a fact on the memories there are."""

    ADD = "ADD"  # no memory states it
    UPDATE = "UPDATE"  # a memory states it differently, or less of it
    DELETE = "DELETE"  # a memory is no longer true, and nothing takes its place
    NONE = "NONE"  # a memory states it already


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the conversation; system messages are context and never a source of facts."""

    role: str
    content: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """A project's rules for inference: instructions in its own words, and the categories of facts."""

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
    """A memory of the scope that may be about the same thing as a fact.

    Attributes:
        version: the one a decision about it is based on.
        commit_id: of the commit that made that version; empty for one of an older release.
    """

    memory_id: str
    text: str
    version: int
    commit_id: str = ""


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A memory near a fact.

    Attributes:
        score: cosine similarity, at most 1.
    """

    memory: Neighbour
    score: float


@dataclass(frozen=True, slots=True)
class Decision:
    """The effect of one fact on at most one memory.

    Attributes:
        fact: its index in the list the model was asked about.
        neighbour: the index of the memory it is about; None for ADD.
        text: of ADD and UPDATE: the memory's new text; empty otherwise.
        reason: the model's, in a few words.
        fallback: why this is an ADD instead of the model's answer; empty when it is the model's answer.
    """

    fact: int
    action: Action
    neighbour: int | None = None
    text: str = ""
    reason: str = ""
    fallback: str = ""


@dataclass(frozen=True, slots=True)
class Extraction:
    """The facts of a conversation, in the order they were said.

    Attributes:
        refusals: why answers could not be used, so that the model was asked again.
    """

    facts: tuple[Fact, ...]
    usage: Usage
    refusals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decisions:
    """At least one decision for every fact, in the facts' order; a fact's further decisions are DELETE.

    Attributes:
        refusals: why answers could not be used, one for each fact and question.
    """

    decisions: tuple[Decision, ...]
    usage: Usage
    refusals: tuple[str, ...] = ()
