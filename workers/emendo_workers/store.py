"""The two Redis planes, and how a process addresses them: all that most modules of the workers need."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

import redis

from emendo_config import Keys, Settings, traces
from emendo_config.store import scripts
from emendo_config.store.clock import RedisClock
from emendo_config.store.connections import connect
from emendo_workers.tally import Tally

# Milliseconds for which Redis remembers that a drain's counts were added. A broken connection is tried again in less
# than one second.
_COUNTED_MS = 10_000


@dataclass(frozen=True, slots=True)
class Store:
    """The connections of one process, with the key names and settings that go with them; thread-safe.

    Attributes:
        data: memories, their histories, indexes and cached vectors.
        control: jobs, inboxes, leases, limits; the same connection as `data` where one Redis serves both.
        keys: builds every key name.
        settings: the worker's.
        lease_ms: milliseconds a lease lasts when nobody renews it.
        data_clock, control_clock: of the two.
        tally: the metrics that no drain has taken to Redis yet.
    """

    data: redis.Redis
    control: redis.Redis
    keys: Keys
    settings: Settings
    lease_ms: int
    data_clock: RedisClock = field(default_factory=RedisClock)
    control_clock: RedisClock = field(default_factory=RedisClock)
    tally: Tally = field(default_factory=Tally)

    def data_time(self) -> float:
        """Seconds since the epoch by the data Redis, which decides what has expired."""
        return self.data_clock.now(self.data)

    def control_time(self) -> float:
        """Seconds since the epoch by the control Redis, which gives the submission times."""
        return self.control_clock.now(self.control)

    def take_counts(self) -> list[scripts.Command]:
        """Empties the tally: the command that adds its counts to those of all processes; none when it was empty."""
        counts = self.tally.take()
        if not counts:
            return []
        counted = self.keys.counted(secrets.token_urlsafe(9))
        return [scripts.count(metrics=self.keys.metrics, counted=counted, kept_ms=_COUNTED_MS, counts=counts)]

    def close(self) -> None:
        """Closes the connections."""
        self.data.close()
        self.control.close()


def open_store(settings: Settings) -> Store:
    """Makes the connections that the settings name; Redis is asked nothing yet."""
    data = connect(settings.redis_url, settings)
    is_shared = settings.control_url == settings.redis_url
    control = data if is_shared else connect(settings.control_url, settings)
    tally = Tally(traces.tracer(settings))
    return Store(data, control, Keys(settings.key_prefix), settings, int(settings.lease * 1000), tally=tally)
