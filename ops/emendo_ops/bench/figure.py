"""Figures: a measured number, its baseline and its target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from emendo_ops.bench.statistics import Summary

# Samples by contender and metric, one for each round.
SamplesByMetric = Mapping[str, Mapping[str, Sequence[float]]]


@dataclass(frozen=True, slots=True)
class Target:
    """A bound that a figure must reach."""

    kind: Literal["≥", "≤"]
    bound: float

    def held_by(self, value: float) -> bool:
        """True if the value is on the right side of the bound, or on it."""
        return value >= self.bound if self.kind == "≥" else value <= self.bound


@dataclass(frozen=True, slots=True)
class Source:
    """The origin of samples: a contender and one of its metrics."""

    contender: str
    metric: str

    def of(self, samples: SamplesByMetric) -> Summary:
        """The summary of its samples.

        Raises:
            KeyError: there are no samples.
        """
        return Summary.of(samples[self.contender][self.metric])


@dataclass(frozen=True, slots=True)
class Part:
    """One number of a row. With a baseline it is the ratio of the two, round by round.

    Attributes:
        label: names the part if its row has several; else empty.
        unit: the number's unit; `×` for a ratio.
        source_unit: the unit of the samples behind a ratio.
        digits: decimal places of the number in the table.
    """

    measured: Source
    baseline: Source | None = None
    reach: Target | None = None
    label: str = ""
    unit: str = "×"
    source_unit: str = ""
    digits: int = 2


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table, before it is measured.

    Attributes:
        name: its name for `--only`.
        figure: the measured quantity, in words.
        against: the baseline, in words.
        experiment: the experiment that supplies its samples.
    """

    name: str
    figure: str
    against: str
    experiment: str
    parts: tuple[Part, ...]

    @property
    def contenders(self) -> set[str]:
        """Every contender that must be measured for it."""
        sources = [source for part in self.parts for source in (part.measured, part.baseline) if source is not None]
        return {source.contender for source in sources}


@dataclass(frozen=True, slots=True)
class Number:
    """A measured part."""

    part: Part
    value: Summary
    measured: Summary
    baseline: Summary | None

    @property
    def held(self) -> bool | None:
        """Whether the median reached the target; None without a target."""
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
    """A measured row, or the problem that prevented it."""

    row: Row
    numbers: tuple[Number, ...] = ()
    notes: tuple[str, ...] = ()
    problem: str = ""

    @property
    def held(self) -> bool | None:
        """Whether every target was reached; None without targets or measurements."""
        held = [number.held for number in self.numbers if number.held is not None]
        return all(held) if held else None

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


def figure(row: Row, samples: SamplesByMetric, notes: Sequence[str] = ()) -> Figure:
    """The row's figure, from the samples of its experiment. Missing samples make it a problem, not an error."""
    numbers = []
    for part in row.parts:
        try:
            measured = part.measured.of(samples)
            baseline = None if part.baseline is None else part.baseline.of(samples)
        except KeyError as missing:
            return Figure(row, problem=f"there are no samples of {missing.args[0]}")
        value = measured if baseline is None else measured.over(baseline)
        numbers.append(Number(part, value, measured, baseline))
    return Figure(row, tuple(numbers), tuple(notes))
