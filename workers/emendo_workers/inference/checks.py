"""A model's decisions, held against what it was asked: what is not clearly meant is not taken. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from emendo_client import validation
from emendo_client.errors import ValidationError
from emendo_config import Settings
from emendo_workers.inference.types import Decision, Fact, Neighbour, Verdict
from emendo_workers.prompts.decide import FactDecision

# Longest reason kept, in characters; asked for are fifteen words.
MAX_REASON = 200


class Refusal(StrEnum):
    """Why the answer for a fact cannot be taken."""

    NO_ANSWER = "NO_ANSWER"
    SEVERAL_EVENTS = "SEVERAL_EVENTS"
    UNKNOWN_EVENT = "UNKNOWN_EVENT"
    UNKNOWN_MEMORY = "UNKNOWN_MEMORY"
    OLD_TEXT_MISSING = "OLD_TEXT_MISSING"
    OLD_TEXT_WRONG = "OLD_TEXT_WRONG"
    NO_TEXT = "NO_TEXT"
    INVALID_TEXT = "INVALID_TEXT"
    NO_CHANGE = "NO_CHANGE"

    @property
    def problem(self) -> str:
        """What is said to the model."""
        return _PROBLEMS[self]


_PROBLEMS = {
    Refusal.NO_ANSWER: "there was no event for it",
    Refusal.SEVERAL_EVENTS: "there were several events of which only one can be right",
    Refusal.UNKNOWN_EVENT: "the event was none of ADD, UPDATE, DELETE and NONE",
    Refusal.UNKNOWN_MEMORY: "there is no memory with the number that was given",
    Refusal.OLD_TEXT_MISSING: "old_text was missing; it must be the text of the memory with that number",
    Refusal.OLD_TEXT_WRONG: "old_text was not the text of the memory with that number",
    Refusal.NO_TEXT: "an UPDATE had no text",
    Refusal.INVALID_TEXT: "the text of an UPDATE was too long, or held characters that are no text",
    Refusal.NO_CHANGE: "the text of an UPDATE was the old text",
}


class Refused(Exception):  # noqa: N818  # not an error: the fact is asked about once more
    """The answer for one fact cannot be taken."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Shown:
    """A memory that was shown to the model.

    Attributes:
        index: among the neighbours.
    """

    index: int
    neighbour: Neighbour


def checked(
    index: int, fact: Fact, said: Sequence[FactDecision], shown: Mapping[int, Shown], settings: Settings
) -> list[Decision]:
    """What the model said of one fact, DELETE last.

    Args:
        index: the fact's, among the facts.
        fact: what was asked about.
        said: all that was said of it.
        shown: the memories by their numbers.
        settings: the limits of a text.

    Raises:
        Refused: it cannot be taken.
    """
    found = {
        (decision.verdict, decision.neighbour, decision.text): decision
        for decision in (_decision(index, fact, item, shown, settings) for item in said)
    }
    deletes = [decision for decision in found.values() if decision.verdict is Verdict.DELETE]
    others = [decision for decision in found.values() if decision.verdict is not Verdict.DELETE]
    if not found:
        raise Refused(Refusal.NO_ANSWER)
    if len(others) > 1 or any(other.neighbour == delete.neighbour for other in others for delete in deletes):
        raise Refused(Refusal.SEVERAL_EVENTS)
    return others + deletes


def _decision(index: int, fact: Fact, said: FactDecision, shown: Mapping[int, Shown], settings: Settings) -> Decision:
    try:
        verdict = Verdict(said.event.strip().upper())
    except ValueError:
        raise Refused(Refusal.UNKNOWN_EVENT) from None
    if verdict is Verdict.ADD:
        # The fact itself, whatever text the model gave: nothing is lost on the way, and it is embedded already.
        return Decision(index, verdict, text=fact.text, reason=_reason(said.reason))
    memory = shown.get(said.memory) if said.memory is not None else None
    if memory is None:
        raise Refused(Refusal.UNKNOWN_MEMORY)
    old = memory.neighbour.text
    if not said.old_text or not said.old_text.strip():
        raise Refused(Refusal.OLD_TEXT_MISSING)
    if _normal(said.old_text) != _normal(old):
        raise Refused(Refusal.OLD_TEXT_WRONG)
    text = _new_text(said.text, old, settings) if verdict is Verdict.UPDATE else ""
    return Decision(index, verdict, memory.index, text, _reason(said.reason))


def _new_text(said: str | None, old: str, settings: Settings) -> str:
    text = (said or "").strip()
    if not text:
        raise Refused(Refusal.NO_TEXT)
    if text == old.strip():
        raise Refused(Refusal.NO_CHANGE)
    try:
        return validation.text(text, "text", settings)
    except ValidationError:
        raise Refused(Refusal.INVALID_TEXT) from None


def _normal(text: str) -> str:
    """The text as far as it must be copied: models change white space, case, and how a character is composed."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _reason(said: str) -> str:
    one_line = " ".join(said.split())
    return "".join(character for character in one_line if character.isprintable())[:MAX_REASON]
