"""Merging shards: while a process is busy with small batches, one drain works the shards of several.

A batch costs some two milliseconds of the process's time whatever its size. Ten drains that each find twenty jobs pay
that ten times. Three that find seventy pay it three times, and the freed threads work the shards that wait for one.

Shards are merged only between batches, while batches are small and fast. When the provider is slow they are split
again, because each needs its own waiting thread. At low load nothing is merged, so no job waits for another's batch.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

# Drains that keep running, so that their provider requests overlap.
MIN_DRAINS = 4
# Jobs a drain's batch must have for the drain to count as busy.
MIN_BATCH = 8
# Seconds that a fast batch takes at most. A full one takes a third of it when the provider answers within 50 ms.
FAST_BATCH = 0.5


@dataclass(frozen=True, slots=True)
class ShardClaim:
    """A shard that a drain of this process has claimed.

    Attributes:
        wakeup: the shard's wake-up key.
        owner: the value of that key while the claim lasts.
    """

    shard: str
    inbox: str
    wakeup: str
    owner: str


@dataclass(slots=True)
class _DrainLoad:
    """The load of one running drain.

    Attributes:
        claims: shards it works.
        jobs: in its last batch.
        received: claims of other drains, which it takes over after its batch.
        received_jobs: in the last batches of these.
    """

    claims: int = 1
    jobs: int = 0
    received: list[ShardClaim] = field(default_factory=list)
    received_jobs: int = 0

    @property
    def all_claims(self) -> int:
        return self.claims + len(self.received)

    @property
    def all_jobs(self) -> int:
        return self.jobs + self.received_jobs


class ShardPool:
    """The running drains of one process, and the claims they pass to each other; thread-safe.

    Args:
        max_batch: jobs of one batch.
    """

    def __init__(self, max_batch: int) -> None:
        self._max_batch = max_batch
        self._drains: dict[str, _DrainLoad] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._drains)

    def register(self, name: str) -> None:
        """Adds a drain that has one claim."""
        with self._lock:
            self._drains[name] = _DrainLoad()

    def record_batch(self, name: str, claims: int, jobs: int) -> list[ShardClaim]:
        """Records a drain's last batch; the claims it received meanwhile, which are its own from now on.

        Args:
            name: the drain's.
            claims: that it still has.
            jobs: in the batch.
        """
        with self._lock:
            drain = self._drains[name]
            received = drain.received
            self._drains[name] = _DrainLoad(claims + len(received), jobs + drain.received_jobs)
            return received

    def merge(self, name: str, claims: Sequence[ShardClaim]) -> bool:
        """Passes a drain's claims to another drain and removes it; False when it has to go on itself."""
        with self._lock:
            drain = self._drains[name]
            # A fair share of all claims, so that they do not all end up with one drain.
            share = math.ceil(sum(each.all_claims for each in self._drains.values()) / MIN_DRAINS)
            hosts = [
                (other.all_jobs, other_name)
                for other_name, other in self._drains.items()
                if other_name != name
                and min(drain.all_jobs, other.all_jobs) >= MIN_BATCH
                and drain.all_jobs + other.all_jobs <= self._max_batch
                and drain.all_claims + other.all_claims <= share
            ]
            if len(self._drains) <= MIN_DRAINS or not hosts:
                return False
            host = self._drains[min(hosts)[1]]
            host.received += [*claims, *drain.received]
            host.received_jobs += drain.all_jobs
            del self._drains[name]
            return True

    def finish(self, name: str) -> list[ShardClaim]:
        """Removes a drain, unless it received claims at the last moment; these claims."""
        with self._lock:
            drain = self._drains[name]
            if drain.received:
                self._drains[name] = _DrainLoad(len(drain.received), drain.received_jobs)
            else:
                del self._drains[name]
            return drain.received

    def remove(self, name: str) -> list[ShardClaim]:
        """Removes a drain if it is still there; the claims it received and has not seen."""
        with self._lock:
            drain = self._drains.pop(name, None)
            return drain.received if drain is not None else []
