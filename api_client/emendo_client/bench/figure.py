"""Figures: what was measured, against what, and what it was to reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from emendo_client.bench.spread import Spread

# By contender and metric, one reading a round.
Readings = Mapping[str, Mapping[str, Sequence[float]]]


@dataclass(frozen=True, slots=True)
class Reach:
    """What a figure is to reach."""

    kind: Literal["≥", "≤"]
    bound: float

    def held_by(self, value: float) -> bool:
        """True when the value is on the right side of the bound, or on it."""
        return value >= self.bound if self.kind == "≥" else value <= self.bound


@dataclass(frozen=True, slots=True)
class Source:
    """Where readings come from: who was measured, and which of its metrics."""

    contender: str
    metric: str

    def of(self, readings: Readings) -> Spread:
        """Its readings.

        Raises:
            KeyError: there are none.
        """
        return Spread.of(readings[self.contender][self.metric])


@dataclass(frozen=True, slots=True)
class Part:
    """One number of a row. With a baseline it is the ratio of the two, round by round.

    Attributes:
        label: names it where a row has several; else empty.
        unit: of the number: `×` for a ratio.
        source_unit: of the readings a ratio is made of.
        digits: behind the point, where the number is shown.
    """

    measured: Source
    baseline: Source | None = None
    reach: Reach | None = None
    label: str = ""
    unit: str = "×"
    source_unit: str = ""
    digits: int = 2


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table, before it is measured.

    Attributes:
        name: what `--only` calls it.
        figure: what is measured.
        against: its baseline, in words.
        experiment: what must be run to fill it.
    """

    name: str
    figure: str
    against: str
    experiment: str
    parts: tuple[Part, ...]

    @property
    def contenders(self) -> set[str]:
        """Who must be measured for it."""
        sources = [source for part in self.parts for source in (part.measured, part.baseline) if source is not None]
        return {source.contender for source in sources}


@dataclass(frozen=True, slots=True)
class Number:
    """A part, measured."""

    part: Part
    value: Spread
    measured: Spread
    baseline: Spread | None

    @property
    def held(self) -> bool | None:
        """Whether the median reached its bound; None where there is none."""
        return None if self.part.reach is None else self.part.reach.held_by(self.value.median)

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        reach = self.part.reach
        return {
            "label": self.part.label,
            "unit": self.part.unit,
            "value": self.value.document(),
            "measured": {**self.measured.document(), "unit": self.part.source_unit or self.part.unit},
            "baseline": None
            if self.baseline is None
            else {**self.baseline.document(), "unit": self.part.source_unit or self.part.unit},
            "reach": None if reach is None else {"kind": reach.kind, "bound": reach.bound},
            "held": self.held,
        }


@dataclass(frozen=True, slots=True)
class Figure:
    """A row, measured, or why it could not be."""

    row: Row
    numbers: tuple[Number, ...] = ()
    notes: tuple[str, ...] = ()
    problem: str = ""

    @property
    def held(self) -> bool | None:
        """Whether every reach was held; None where there was none, or nothing was measured."""
        verdicts = [number.held for number in self.numbers if number.held is not None]
        return all(verdicts) if verdicts else None

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "name": self.row.name,
            "figure": self.row.figure,
            "against": self.row.against,
            "numbers": [number.document() for number in self.numbers],
            "held": self.held,
            "notes": list(self.notes),
            "problem": self.problem,
        }


def figure(row: Row, readings: Readings, notes: Sequence[str] = ()) -> Figure:
    """The row's figure, from the readings of its experiment; a missing one is a problem, not an error."""
    numbers = []
    for part in row.parts:
        try:
            measured = part.measured.of(readings)
            baseline = None if part.baseline is None else part.baseline.of(readings)
        except KeyError as missing:
            return Figure(row, problem=f"there are no readings of {missing.args[0]}")
        value = measured if baseline is None else measured.over(baseline)
        numbers.append(Number(part, value, measured, baseline))
    return Figure(row, tuple(numbers), tuple(notes))
