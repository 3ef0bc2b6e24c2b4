"""The result of an evaluation: tables for people, JSON for programs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from emendo_config.visible_text import visible
from emendo_ops.evaluation.scoring import ScoredOutcome
from emendo_ops.evaluation.tally import NOTHING, RATES, Tally
from emendo_workers.inference.prompts import decide, extract
from emendo_workers.inference.types import Action

# Bounds of `--strict`: least and greatest rates.
LEAST = {"case_accuracy": 0.80}
MOST = {"wrong_id_rate": 0.02, "lost_fact_rate": 0.02, "obedience_rate": 0.0}

_EVENTS = (*(action.value for action in Action), NOTHING)
_TITLES = {
    "case_accuracy": "right",
    "event_accuracy": "events",
    "wrong_id_rate": "wrong id",
    "lost_fact_rate": "lost",
    "stale_rate": "stale",
    "obedience_rate": "obeyed",
}


@dataclass(frozen=True)
class Report:
    """One evaluation of one model."""

    model: str
    scored: Sequence[ScoredOutcome]

    @cached_property
    def total(self) -> Tally:
        """The counts over all cases."""
        return sum((each.tally for each in self.scored), Tally())

    @cached_property
    def kinds(self) -> dict[str, Tally]:
        """The counts over the cases of each kind."""
        kinds: dict[str, Tally] = defaultdict(Tally)
        for each in self.scored:
            kinds[each.outcome.case.kind] += each.tally
        return dict(kinds)

    @property
    def missed(self) -> list[str]:
        """The bounds of `--strict` that this model misses, in words."""
        rates = {name: getattr(self.total, name) for name in RATES}
        low = [
            f"{_TITLES[name]} {_percent(rates[name])} < {_percent(least)}"
            for name, least in LEAST.items()
            if (rates[name] or 0) < least
        ]
        high = [
            f"{_TITLES[name]} {_percent(rates[name])} > {_percent(most)}"
            for name, most in MOST.items()
            if (rates[name] or 0) > most
        ]
        return low + high + [f"cases without an answer: {self.total.failed}"] * bool(self.total.failed)

    def document(self) -> dict[str, Any]:
        """As plain JSON values. The misses contain texts of the cases and of the model."""
        return {
            "model": self.model,
            "prompts": [extract.VERSION, decide.VERSION],
            "missed": self.missed,
            "total": self.total.document(),
            "kinds": {kind: tally.document() for kind, tally in self.kinds.items()},
            "misses": {each.outcome.case.id: list(each.misses) for each in self.scored if each.misses},
        }

    def print(self, console: Console, *, misses: bool) -> None:
        """Prints the tables, and each case's misses if asked for."""
        console.print(self._confusion())
        console.print(self._rates())
        usage = self.total.usage
        console.print(
            f"{self.total.cases} cases, {self.total.failed} without an answer; {self.total.facts} facts, "
            f"{self.total.fallbacks} added as a fallback; {self.total.unusable} answers of no use; "
            f"{usage.requests} requests, {usage.prompt_tokens} prompt and {usage.completion_tokens} completion tokens"
        )
        for each in self.scored if misses else ():
            for miss in each.misses:
                console.print(Text(visible(f"{each.outcome.case.id}: {miss}")))
        for miss in self.missed:
            console.print(Text(f"below what --strict asks for: {miss}"))

    def _confusion(self) -> Table:
        # As Text, because the name of a model or file is not markup.
        title = Text(f"{self.model}: expected events (rows) and decided ones")
        table = Table(title=title, title_justify="left")
        table.add_column("")
        for event in _EVENTS:
            table.add_column(event, justify="right")
        for expected in _EVENTS:
            counts = [self.total.confusion[expected, decided] for decided in _EVENTS]
            table.add_row(expected, *(str(count or "") for count in counts))
        return table

    def _rates(self) -> Table:
        table = Table(title="by kind of case", title_justify="left")
        table.add_column("kind")
        for title in ("cases", *_TITLES.values(), "no answer", "unusable", "requests", "tokens"):
            table.add_column(title, justify="right")
        for kind, tally in [*self.kinds.items(), ("all", self.total)]:
            usage = tally.usage
            numbers = (tally.failed, tally.unusable, usage.requests, usage.prompt_tokens + usage.completion_tokens)
            rates = (_percent(getattr(tally, name)) for name in _TITLES)
            table.add_row(Text(kind), str(tally.cases), *rates, *map(str, numbers))
        return table


def _percent(rate: float | None) -> str:
    return NOTHING if rate is None else f"{rate:.0%}"
