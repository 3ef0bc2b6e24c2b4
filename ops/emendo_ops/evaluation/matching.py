"""Matches decisions with expectations, and applies decisions to memories. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from itertools import product

from emendo_ops.evaluation.cases import Case, Expectation
from emendo_workers.inference.types import Action, Decision, Fact


def match_decisions(case: Case, decisions: Sequence[Decision], facts: Sequence[Fact]) -> dict[int, int]:
    """The index of the decision that answers each expectation. The best pairs are matched first, each decision once."""
    ranked = sorted(
        (-similarity, *pair)
        for pair in product(range(len(case.expect)), range(len(decisions)))
        if (similarity := _similarity(case.expect[pair[0]], decisions[pair[1]], facts))
    )
    found: dict[int, int] = {}
    for _, expected, decided in ranked:
        if expected not in found and decided not in found.values():
            found[expected] = decided
    return found


def _similarity(expected: Expectation, decision: Decision, facts: Sequence[Fact]) -> int:
    """0 if the two concern different things; else higher for a better match."""
    same_memory = expected.memory is not None and decision.neighbour == expected.memory - 1
    same_words = says(f"{facts[decision.fact].text} {decision.text}", expected.must)
    if not same_memory and not same_words:
        return 0
    return 4 * (decision.action in expected.event) + 2 * same_memory + same_words


def afterwards(case: Case, decisions: Sequence[Decision], facts: Sequence[Fact]) -> list[str]:
    """The memories after the decisions: one change for each memory; further changes become new memories."""
    memories: dict[int, str] = dict(enumerate(case.known))
    added: list[str] = []
    changed: set[int | None] = set()
    for decision in decisions:
        again = decision.neighbour in changed
        match decision.action:
            case Action.ADD:
                added.append(decision.text)
            case Action.UPDATE if again:
                added.append(facts[decision.fact].text)
            case Action.UPDATE if decision.neighbour is not None:
                memories[decision.neighbour] = decision.text
            case Action.DELETE if not again and decision.neighbour is not None:
                del memories[decision.neighbour]
        if decision.action in (Action.UPDATE, Action.DELETE):
            changed.add(decision.neighbour)
    return [*memories.values(), *added]


def says(text: str, keywords: Iterable[str]) -> bool:
    """True if the text has every keyword; for "a|b" one of the two is enough."""
    normal = normalised(text)
    return all(any(normalised(each) in normal for each in keyword.split("|")) for keyword in keywords)


def contains(text: str, known: str) -> bool:
    """True if the text contains the known text word for word."""
    return normalised(known).rstrip(".。।؟!? ") in normalised(text)


def normalised(text: str) -> str:
    """The form in which texts are compared: NFKC, case-folded, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
