"""A model's decisions, checked against the question: an unclear one is refused. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from emendo_client.errors import ValidationError
from emendo_config import Settings
from emendo_config.visible_text import visible
from emendo_workers.inference.prompts.decide import FactDecision
from emendo_workers.inference.types import Action, Decision, Fact, Neighbour
from emendo_workers.providers.model_texts import model_text

# The longest reason kept, in characters; the prompt asks for fifteen words.
MAX_REASON = 200


class Refusal(StrEnum):
    """Why the answer for a fact cannot be used."""

    NO_ANSWER = "NO_ANSWER"
    CUT_OFF = "CUT_OFF"
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
        """The sentence that tells the model."""
        return _PROBLEMS[self]


_PROBLEMS = {
    Refusal.NO_ANSWER: "there was no event for it",
    Refusal.CUT_OFF: "the answer was cut off before it was complete",
    Refusal.SEVERAL_EVENTS: "there were several events of which only one can be right",
    Refusal.UNKNOWN_EVENT: "the event was none of ADD, UPDATE, DELETE and NONE",
    Refusal.UNKNOWN_MEMORY: "there is no memory with the number that was given",
    Refusal.OLD_TEXT_MISSING: "old_text was missing; it must be the text of the memory with that number",
    Refusal.OLD_TEXT_WRONG: "old_text was not the text of the memory with that number",
    Refusal.NO_TEXT: "an UPDATE had no text",
    Refusal.INVALID_TEXT: "the text of an UPDATE was too long, or held characters that are no text",
    Refusal.NO_CHANGE: "the text of an UPDATE was the old text",
}


class Refused(Exception):  # noqa: N818  # not an error: the model is asked about the fact again
    """The answer for one fact cannot be used."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class ShownMemory:
    """A memory that was shown to the model.

    Attributes:
        index: among the neighbours.
    """

    index: int
    neighbour: Neighbour


def checked_decisions(
    index: int, fact: Fact, answers: Sequence[FactDecision], shown: Mapping[int, ShownMemory], settings: Settings
) -> list[Decision]:
    """The model's decisions about one fact, DELETE last.

    Args:
        index: the fact's, among the facts.
        fact: the fact asked about.
        answers: all answers about it.
        shown: the memories by their numbers.
        settings: the limits of a text.

    Raises:
        Refused: the answers cannot be used.
    """
    found = {
        (decision.action, decision.neighbour, decision.text): decision
        for decision in (_decision(index, fact, answer, shown, settings) for answer in answers)
    }
    deletes = [decision for decision in found.values() if decision.action is Action.DELETE]
    others = [decision for decision in found.values() if decision.action is not Action.DELETE]
    if not found:
        raise Refused(Refusal.NO_ANSWER)
    if len(others) > 1 or any(other.neighbour == delete.neighbour for other in others for delete in deletes):
        raise Refused(Refusal.SEVERAL_EVENTS)
    return others + deletes


def _decision(
    index: int, fact: Fact, answer: FactDecision, shown: Mapping[int, ShownMemory], settings: Settings
) -> Decision:
    try:
        action = Action(answer.event.strip().upper())
    except ValueError:
        raise Refused(Refusal.UNKNOWN_EVENT) from None
    if action is Action.ADD:
        # The fact itself, whatever text the model gave: so nothing is lost, and its vector is there already.
        return Decision(index, action, text=fact.text, reason=_reason(answer.reason))
    memory = shown.get(answer.memory) if answer.memory is not None else None
    if memory is None:
        raise Refused(Refusal.UNKNOWN_MEMORY)
    old = memory.neighbour.text
    if not answer.old_text or not answer.old_text.strip():
        raise Refused(Refusal.OLD_TEXT_MISSING)
    if _normalized(answer.old_text) != _normalized(old):
        raise Refused(Refusal.OLD_TEXT_WRONG)
    text = _new_text(answer.text, old, settings) if action is Action.UPDATE else ""
    return Decision(index, action, memory.index, text, _reason(answer.reason))


def _new_text(answer: str | None, old: str, settings: Settings) -> str:
    text = (answer or "").strip()
    if not text:
        raise Refused(Refusal.NO_TEXT)
    if text == old.strip():
        raise Refused(Refusal.NO_CHANGE)
    try:
        return model_text(text, settings)
    except ValidationError:
        raise Refused(Refusal.INVALID_TEXT) from None


def _normalized(text: str) -> str:
    """The text without what models are not shown, and without what they change: white space, case, composition."""
    return " ".join(unicodedata.normalize("NFKC", visible(text)).casefold().split())


def _reason(answer: str) -> str:
    one_line = " ".join(answer.split())
    return "".join(character for character in one_line if character.isprintable())[:MAX_REASON]
