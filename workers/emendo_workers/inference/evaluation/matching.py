"""Which decision answers which expectation, and what the memories say afterwards. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from itertools import product

from emendo_workers.inference.evaluation.cases import Case, Expectation
from emendo_workers.inference.types import Decision, Fact, Verdict


def pairs(case: Case, decisions: Sequence[Decision], facts: Sequence[Fact]) -> dict[int, int]:
    """Expectations, by index, and the decision that answers each; the best pairs first, each decision once."""
    ranked = sorted(
        (-likeness, *pair)
        for pair in product(range(len(case.expect)), range(len(decisions)))
        if (likeness := _likeness(case.expect[pair[0]], decisions[pair[1]], facts))
    )
    found: dict[int, int] = {}
    for _, expected, decided in ranked:
        if expected not in found and decided not in found.values():
            found[expected] = decided
    return found


def _likeness(expected: Expectation, decision: Decision, facts: Sequence[Fact]) -> int:
    """0 when they are not about the same thing; else the more, the better they fit."""
    same_memory = expected.memory is not None and decision.neighbour == expected.memory - 1
    same_words = says(f"{facts[decision.fact].text} {decision.text}", expected.must)
    if not same_memory and not same_words:
        return 0
    return 4 * (decision.verdict in expected.event) + 2 * same_memory + same_words


def afterwards(case: Case, decisions: Sequence[Decision], facts: Sequence[Fact]) -> list[str]:
    """What the memories say when the decisions are carried out: one change a memory, further ones are added."""
    memories: dict[int, str] = dict(enumerate(case.known))
    added: list[str] = []
    changed: set[int | None] = set()
    for decision in decisions:
        again = decision.neighbour in changed
        match decision.verdict:
            case Verdict.ADD:
                added.append(decision.text)
            case Verdict.UPDATE if again:
                added.append(facts[decision.fact].text)
            case Verdict.UPDATE if decision.neighbour is not None:
                memories[decision.neighbour] = decision.text
            case Verdict.DELETE if not again and decision.neighbour is not None:
                del memories[decision.neighbour]
        if decision.verdict in (Verdict.UPDATE, Verdict.DELETE):
            changed.add(decision.neighbour)
    return [*memories.values(), *added]


def says(text: str, keywords: Iterable[str]) -> bool:
    """True when the text has every keyword; of "a|b" one is enough."""
    normal = normalised(text)
    return all(any(normalised(each) in normal for each in keyword.split("|")) for keyword in keywords)


def contains(text: str, known: str) -> bool:
    """True when the text says what is known, word for word, whatever it says besides."""
    return normalised(known).rstrip(".。।؟!? ") in normalised(text)


def normalised(text: str) -> str:
    """As keywords are compared."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
