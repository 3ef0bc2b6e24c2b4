"""Samples, collected round after round."""

from __future__ import annotations

from collections.abc import Collection, Mapping


class Samples(dict[str, dict[str, list[float]]]):
    """Samples by contender and metric, and notes on them."""

    def __init__(self) -> None:
        super().__init__()
        self._notes: dict[str, str] = {}

    def add(self, contender: str, metrics: Mapping[str, float]) -> None:
        """Adds a contender's samples of one round."""
        for metric, value in metrics.items():
            self.setdefault(contender, {}).setdefault(metric, []).append(value)

    def note(self, text: str, contender: str = "") -> None:
        """Adds a note on a contender, or on the whole experiment. The same note is kept once."""
        self._notes[text] = contender

    def notes_for(self, contenders: Collection[str]) -> list[str]:
        """The notes on any of these contenders, and on the whole experiment."""
        return [text for text, contender in self._notes.items() if not contender or contender in contenders]
