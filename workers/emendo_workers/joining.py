"""Drains that join: while a process is busy with small batches, one thread works the shards of several.

A batch costs some two milliseconds of the process's time whatever its size. Ten drains that each find twenty jobs pay
that ten times; three that find seventy pay it three times, and the freed threads take up the shards that wait for one.
Only between batches, and only as long as these are small and quick: where the provider is slow every thread is needed,
nothing joins, and what has joined parts. At little load nothing joins either, so nobody waits for another's batch.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

# Drains that go on, so that their provider requests overlap.
FEWEST = 4
# Jobs in a batch from which on its drain counts as busy.
BUSY = 8
# Seconds a batch may take; a full one takes a third of it where the provider answers within 50 ms.
QUICK = 0.5


@dataclass(frozen=True, slots=True)
class Claim:
    """A shard that one of this process's drains has.

    Attributes:
        owner: what its bell says.
    """

    shard: str
    inbox: str
    bell: str
    owner: str


@dataclass(slots=True)
class _Drain:
    """What is known of one drain.

    Attributes:
        claims: how many it works.
        size: of its last batch.
        given: claims it has not seen yet.
        given_size: of the last batches these were in.
    """

    claims: int = 1
    size: int = 0
    given: list[Claim] = field(default_factory=list)
    given_size: int = 0


class Drains:
    """The drains of one process that are at work, and the claims they give each other; thread-safe.

    Args:
        most: jobs of one batch.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._drains: dict[str, _Drain] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._drains)

    def enter(self, name: str) -> None:
        """A drain begins with one claim."""
        with self._lock:
            self._drains[name] = _Drain()

    def note(self, name: str, claims: int, size: int) -> list[Claim]:
        """What a drain was given during its last batch.

        Args:
            claims: that it still has.
            size: jobs of the batch.
        """
        with self._lock:
            drain = self._drains[name]
            given = drain.given
            self._drains[name] = _Drain(claims + len(given), size + drain.given_size)
            return given

    def join(self, name: str, claims: Sequence[Claim]) -> bool:
        """Ends a drain by giving another one its claims; False when it is to go on itself."""
        with self._lock:
            drain = self._drains[name]
            count, size = self._load(drain)
            # A fair share of all claims, so that not all of them end up with one.
            share = math.ceil(sum(self._load(each)[0] for each in self._drains.values()) / FEWEST)
            able = [
                (other_size, other)
                for other, (other_count, other_size) in ((key, self._load(each)) for key, each in self._drains.items())
                if other != name
                and min(size, other_size) >= BUSY
                and size + other_size <= self._most
                and count + other_count <= share
            ]
            if len(self._drains) <= FEWEST or not able:
                return False
            host = self._drains[min(able)[1]]
            host.given += [*claims, *drain.given]
            host.given_size += size
            del self._drains[name]
            return True

    def leave(self, name: str) -> list[Claim]:
        """Ends a drain, unless it was given something in the last moment: that."""
        with self._lock:
            given = self._drains[name].given
            if given:
                self._drains[name] = _Drain(len(given), self._drains[name].given_size)
            else:
                del self._drains[name]
            return given

    def abandon(self, name: str) -> list[Claim]:
        """Ends a drain, whatever it was given: that."""
        with self._lock:
            drain = self._drains.pop(name, None)
            return drain.given if drain is not None else []

    @staticmethod
    def _load(drain: _Drain) -> tuple[int, int]:
        """How many claims it has or is given, and how many jobs their last batches had."""
        return drain.claims + len(drain.given), drain.size + drain.given_size
