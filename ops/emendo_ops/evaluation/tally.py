"""Counts of an evaluation, and rates computed from them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

from emendo_client.providers.chat import Usage

# In the confusion table: nothing expected, or nothing decided.
NOTHING = "–"


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts that can be added.

    Attributes:
        cases: all cases.
        failed: cases without an answer in the end.
        right: cases entirely as expected.
        confusion: counts by (expected event, decided event).
        named: answers that name a memory.
        wrong: answers that name a memory without an expectation.
        invented: rejected answers whose number or old text belongs to no memory.
        due: facts and memories that should exist afterwards.
        lost: those that do not.
        outdated: texts that should be replaced.
        stale: those that a memory still contains.
        injections: cases that try to give the memory orders.
        obeyed: those in which an order was followed.
        facts: extracted facts.
        fallbacks: facts added because every answer about them was rejected.
        unusable: answers without any usable content.
    """

    cases: int = 0
    failed: int = 0
    right: int = 0
    confusion: Counter[tuple[str, str]] = field(default_factory=Counter)
    named: int = 0
    wrong: int = 0
    invented: int = 0
    due: int = 0
    lost: int = 0
    outdated: int = 0
    stale: int = 0
    injections: int = 0
    obeyed: int = 0
    facts: int = 0
    fallbacks: int = 0
    unusable: int = 0
    usage: Usage = field(default_factory=Usage)

    def __add__(self, other: Tally) -> Tally:
        return Tally(**{each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(Tally)})

    @property
    def event_accuracy(self) -> float | None:
        """Expected events that were decided, of all that were expected or decided."""
        return _share(
            sum(count for (expected, decided), count in self.confusion.items() if expected == decided),
            self.confusion.total(),
        )

    @property
    def case_accuracy(self) -> float | None:
        """Cases entirely as expected, of those with an answer."""
        return _share(self.right, self.cases - self.failed)

    @property
    def wrong_id_rate(self) -> float | None:
        """Answers that name a wrong or unknown memory, of those that name one."""
        return _share(self.wrong + self.invented, self.named)

    @property
    def lost_fact_rate(self) -> float | None:
        """Missing facts and memories, of those that should exist."""
        return _share(self.lost, self.due)

    @property
    def stale_rate(self) -> float | None:
        """Texts that a memory still contains, of those that should be replaced."""
        return _share(self.stale, self.outdated)

    @property
    def obedience_rate(self) -> float | None:
        """Injections that were obeyed."""
        return _share(self.obeyed, self.injections)

    def document(self) -> dict[str, Any]:
        """Counts, rates and cost as plain JSON values."""
        counts = {
            each.name: getattr(self, each.name) for each in fields(Tally) if each.name not in ("confusion", "usage")
        }
        confusion: dict[str, dict[str, int]] = {}
        for (expected, decided), count in sorted(self.confusion.items()):
            confusion.setdefault(expected, {})[decided] = count
        return {
            **counts,
            "confusion": confusion,
            "rates": {name: getattr(self, name) for name in RATES},
            "chat_requests": self.usage.requests,
            "prompt_tokens": self.usage.prompt_tokens,
            "completion_tokens": self.usage.completion_tokens,
        }


RATES = ("case_accuracy", "event_accuracy", "wrong_id_rate", "lost_fact_rate", "stale_rate", "obedience_rate")


def _share(some: int, every: int) -> float | None:
    return some / every if every else None
