"""Several readings of one thing: their median, and how far they lie apart."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Spread:
    """Readings in the order they were taken; at least one."""

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("a spread needs at least one reading")

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """The spread of these readings."""
        return cls(tuple(map(float, values)))

    @property
    def median(self) -> float:
        """The middle reading."""
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        """The least reading."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The greatest reading."""
        return max(self.values)

    def over(self, baseline: Spread) -> Spread:
        """The ratios, round by round: each reading over the baseline's of the same round.

        Pairs that were read one right after the other: whatever slows the machine down for a while slows both.

        Raises:
            ValueError: there are not as many readings on both sides.
        """
        return Spread(tuple(mine / theirs for mine, theirs in zip(self.values, baseline.values, strict=True)))

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"median": self.median, "low": self.low, "high": self.high, "values": list(self.values)}


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that at least this share of the values does not exceed (nearest rank).

    Args:
        values: in any order; at least one.
        share: 0.5 for the median, 0.99 for p99.
    """
    if not 0 < share <= 1:
        raise ValueError(f"a share is above 0 and at most 1, not {share}")
    ordered = sorted(values)
    return ordered[math.ceil(share * len(ordered)) - 1]
