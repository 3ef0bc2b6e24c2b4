"""What one run of the benchmark was asked for."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from emendo_client.bench.bed import Bed

LEAST = 16  # of anything: enough to go through a batch


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run on, how often, and who is wanted.

    Attributes:
        scale: of every size.
        contenders: whose readings the chosen rows need.
        peer_python: the interpreter of the peers' environment, where there is one.
        in_flight: requests the bare script has in flight; 0 for as many as the product can have.
    """

    bed: Bed
    rounds: int
    scale: float = 1.0
    contenders: AbstractSet[str] = frozenset()
    peer_python: Path | None = None
    in_flight: int = 0

    def size(self, full: int) -> int:
        """A size at this scale."""
        return max(LEAST, round(full * self.scale))

    def wants(self, contender: str) -> bool:
        """Whether anybody needs its readings."""
        return contender in self.contenders
