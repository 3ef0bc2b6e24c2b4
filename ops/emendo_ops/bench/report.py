"""The figures of one run: a table for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from emendo_ops.bench.figure import Figure, Number
from emendo_ops.bench.machine import Machine
from emendo_ops.bench.statistics import Summary

_OUTCOMES = {True: ("held", "green"), False: ("MISSED", "bold red"), None: ("", "")}


@dataclass(frozen=True, slots=True)
class Report:
    """One run.

    Attributes:
        rounds: how often each contender was measured.
        scale: the factor applied to every size. Only figures at scale 1 count.
    """

    machine: Machine
    rounds: int
    scale: float
    figures: Sequence[Figure]

    @property
    def complete(self) -> bool:
        """True if every figure was measured."""
        return not any(figure.problem for figure in self.figures)

    @property
    def missed(self) -> list[str]:
        """The names of the rows that missed their target."""
        return [figure.row.name for figure in self.figures if figure.held is False]

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "machine": asdict(self.machine),
            "rounds": self.rounds,
            "scale": self.scale,
            "complete": self.complete,
            "missed": self.missed,
            "figures": [figure.document() for figure in self.figures],
        }

    def print(self, console: Console) -> None:
        """Prints the table, the notes and the machine."""
        reaches = any(number.part.reach for figure in self.figures for number in figure.numbers)
        table = Table(title=f"medians of {self.rounds} rounds (least … greatest)", title_justify="left")
        for column in ("figure", "against", "measured", "baseline", "value"):
            table.add_column(column)
        if reaches:
            table.add_column("reach")
            table.add_column("")
        for figure in self.figures:
            cells = [Text(cell) for cell in _cells(figure)]
            if reaches:
                word, style = _OUTCOMES[figure.held]
                cells += [Text("\n".join(map(_reach, figure.numbers))), Text(word, style=style)]
            table.add_row(*cells)
        console.print(table)
        for figure in self.figures:
            for note in figure.notes:
                console.print(Text(f"{figure.row.name}: {note}"), soft_wrap=True)
        console.print(Text(f"on {self.machine}"), soft_wrap=True)
        if self.scale != 1:
            console.print(Text(f"at scale {self.scale:g}: the harness works, the figures say nothing"), style="yellow")


def _cells(figure: Figure) -> list[str]:
    if figure.problem:
        return [figure.row.figure, figure.row.against, f"not measured: {figure.problem}", "", ""]
    numbers = figure.numbers
    return [
        figure.row.figure,
        figure.row.against,
        "\n".join(_shown(number.measured, _source_unit(number)) for number in numbers if number.baseline is not None),
        "\n".join(_shown(number.baseline, _source_unit(number)) for number in numbers if number.baseline is not None),
        "\n".join(_value(number) for number in numbers),
    ]


def _source_unit(number: Number) -> str:
    return number.part.source_unit or number.part.unit


def _value(number: Number) -> str:
    value, part = number.value, number.part
    spread = f" ({value.low:,.{part.digits}f} … {value.high:,.{part.digits}f})"
    return f"{part.label} {value.median:,.{part.digits}f} {part.unit}{spread}".strip()


def _reach(number: Number) -> str:
    reach = number.part.reach
    return "" if reach is None else f"{number.part.label} {reach.kind} {reach.bound:,g} {number.part.unit}".strip()


def _shown(summary: Summary, unit: str) -> str:
    digits = 0 if summary.median >= 100 else 2  # noqa: PLR2004  # three digits are enough
    return f"{summary.median:,.{digits}f} {unit}".strip()
