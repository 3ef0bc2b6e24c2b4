"""The options of one run of the benchmark."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from emendo_ops.bench.testbed import TestBed

LEAST = 16  # of anything: enough to go through a batch


@dataclass(frozen=True, slots=True)
class Plan:
    """The test bed, the rounds and the contenders of one run.

    Attributes:
        scale: the factor applied to every size.
        contenders: the contenders that the chosen rows need.
        peer_python: the interpreter of the peers' environment, if there is one.
        in_flight: requests the bare script has in flight; 0 for as many as the product can have.
    """

    bed: TestBed
    rounds: int
    scale: float = 1.0
    contenders: AbstractSet[str] = frozenset()
    peer_python: Path | None = None
    in_flight: int = 0

    def size(self, full: int) -> int:
        """A size at this scale."""
        return max(LEAST, round(full * self.scale))

    def wants(self, contender: str) -> bool:
        """True if a chosen row needs its samples."""
        return contender in self.contenders
