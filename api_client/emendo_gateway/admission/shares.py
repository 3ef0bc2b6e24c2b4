"""Leaves room for others: a project has at most half of what all share, while another project sends requests."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from emendo_client.errors import TransientError
from emendo_config.error_codes import ErrorCode

# Seconds for which a project that sent a request counts as there.
_PRESENT = 60.0


class Neighbours:
    """Whether several projects send requests; it takes no more room for many than for two."""

    def __init__(self) -> None:
        self._newest = ""
        self._newest_at = self._before_at = -math.inf

    def note(self, project: str, now: float) -> None:
        """A request of the project came."""
        if project != self._newest:
            self._newest, self._before_at = project, self._newest_at
        self._newest_at = now

    def surround(self, project: str, now: float) -> bool:
        """True if another project sent a request lately."""
        latest = self._before_at if project == self._newest else self._newest_at
        return now - latest < _PRESENT


class Shares:
    """How much of one thing each project has.

    Args:
        thing: its name in the message.
        most: so much a project may have beside neighbours.
    """

    def __init__(self, neighbours: Neighbours, thing: str, most: int) -> None:
        self._neighbours = neighbours
        self._thing = thing
        self._most = most
        self._held = Counter[str]()

    def take(self, project: str, amount: int) -> None:
        """Counts it for the project."""
        self._held[project] += amount

    def require_room(self, project: str, now: float) -> None:
        """Checks that the project has no more than its share, if there are others.

        Raises:
            TransientError: (OVERLOADED)
        """
        if self._held[project] > self._most and self._neighbours.surround(project, now):
            raise TransientError(
                f"this project has half of the {self._thing}, and others ask for them",
                error_code=ErrorCode.OVERLOADED,
                suggestion="send it again in some seconds",
            )

    def give_back(self, project: str, amount: int) -> None:
        """Ends what `take` began."""
        self._held[project] -= amount
        if not self._held[project]:
            del self._held[project]

    @contextmanager
    def one(self, project: str, now: float) -> Iterator[None]:
        """Takes one as long as the block runs.

        Raises:
            TransientError: see `require_room`.
        """
        self.take(project, 1)
        try:
            self.require_room(project, now)
            yield
        finally:
            self.give_back(project, 1)
