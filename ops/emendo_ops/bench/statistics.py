"""Summaries of samples: median, least, greatest, percentiles."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Summary:
    """One or more samples of one quantity, in the order they were taken."""

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("a summary needs at least one sample")

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """The summary of these samples."""
        return cls(tuple(map(float, values)))

    @property
    def median(self) -> float:
        """The middle sample."""
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        """The least sample."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The greatest sample."""
        return max(self.values)

    def over(self, baseline: Summary) -> Summary:
        """The ratios, round by round: each sample over the baseline's of the same round.

        The two samples of a round are taken right after each other, so a slow phase of the machine affects both.

        Raises:
            ValueError: the two sides have different numbers of samples.
        """
        return Summary(tuple(mine / theirs for mine, theirs in zip(self.values, baseline.values, strict=True)))

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
