"""Readings as they come in: round after round, by contender and metric."""

from __future__ import annotations

from collections.abc import Collection, Mapping


class Gathered(dict[str, dict[str, list[float]]]):
    """Readings by contender and metric, and remarks on them."""

    def __init__(self) -> None:
        super().__init__()
        self._notes: dict[str, str] = {}

    def add(self, contender: str, metrics: Mapping[str, float]) -> None:
        """Adds one round's readings of a contender."""
        for metric, value in metrics.items():
            self.setdefault(contender, {}).setdefault(metric, []).append(value)

    def note(self, text: str, contender: str = "") -> None:
        """Keeps a remark once, however often it is made; about a contender, or about all of the experiment."""
        self._notes[text] = contender

    def notes_for(self, contenders: Collection[str]) -> list[str]:
        """The remarks that concern a row which compares these."""
        return [text for text, contender in self._notes.items() if not contender or contender in contenders]
