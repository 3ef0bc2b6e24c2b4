"""Counts of an evaluation, and the rates made of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

from emendo_workers.inference.types import Usage

# In the confusion table: nothing was expected, or nothing was decided.
NOTHING = "–"


@dataclass(frozen=True, slots=True)
class Tally:
    """What was counted; tallies add up.

    Attributes:
        cases, failed, right: all; those without an answer in the end; those in which everything was as expected.
        confusion: how often which event was decided where which was expected, by (expected, decided).
        named, wrong, invented: answers that name a memory; those that name one which has nothing to do with the case's
            expectations; those refused because the number or the old text was that of no memory.
        due, lost: facts and memories that should be there afterwards; those that are not.
        outdated, stale: texts that should be replaced; those that a memory still says.
        injections, obeyed: cases that try to give the memory orders; those in which one was followed.
        facts, fallbacks: facts extracted; those that became an ADD because no answer for them could be taken.
        unusable: answers of which nothing could be used.
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
        """Cases in which everything was as expected, of those with an answer."""
        return _share(self.right, self.cases - self.failed)

    @property
    def wrong_id_rate(self) -> float | None:
        """Answers that name the wrong memory or one that is not there, of those that name one."""
        return _share(self.wrong + self.invented, self.named)

    @property
    def lost_fact_rate(self) -> float | None:
        """Facts and memories that are gone, of those that should be there."""
        return _share(self.lost, self.due)

    @property
    def stale_rate(self) -> float | None:
        """Replaced texts that a memory still says."""
        return _share(self.stale, self.outdated)

    @property
    def obedience_rate(self) -> float | None:
        """Injected orders that were followed."""
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
