"""Keeps a worker's leases alive while it works, and the worker itself on the list of the living.

One thread a process. A worker that dies, or that stands still for longer than the lease, loses its leases;
that costs work done twice at most, never a change (see `commit.lua`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import redis
from redis.exceptions import RedisError

from emendo_config import Keys, Settings
from emendo_workers import scripts

logger = logging.getLogger(__name__)

# Renewals a lease gets before it would run out.
RENEWALS = 3
# A worker not heard of for so long (seconds) is taken off the list.
FORGET_AFTER = 3_600.0


class Keeper:
    """Renews bells (control plane) and memory locks (data plane) until they are given back."""

    def __init__(self, data: redis.Redis, control: redis.Redis, keys: Keys, settings: Settings, worker: str) -> None:
        self._data = data
        self._control = control
        self._keys = keys
        self._worker = worker
        self._lease_ms = int(settings.lease * 1000)
        self._pause = settings.lease / RENEWALS
        self._guard = threading.Lock()
        self._locks: dict[str, Sequence[str]] = {}
        self._bells: dict[str, str] = {}
        self._lost: set[str] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="emendo-keeper", daemon=True)

    def start(self) -> None:
        """Begins to renew."""
        self._thread.start()

    def stop(self) -> None:
        """Stops renewing and takes the worker off the list."""
        self._stopping.set()
        if self._thread.ident is None:
            return
        self._thread.join()
        try:
            self._control.zrem(self._keys.workers, self._worker)
        except RedisError as error:
            logger.warning("could not sign off", extra={"error": type(error).__name__})

    @contextmanager
    def holding(self, locks: Sequence[str], token: str) -> Iterator[None]:
        """Renews memory locks that hold `token` while the block runs."""
        with self._guard:
            self._locks[token] = locks
        try:
            yield
        finally:
            with self._guard:
                del self._locks[token]

    def keep(self, bell: str, owner: str) -> None:
        """Renews a claimed bell from now on, whichever drain works its shard."""
        with self._guard:
            self._bells[bell] = owner
            self._lost.discard(owner)

    def let_go(self, bell: str, owner: str) -> None:
        """Renews the bell no more; it may be another drain's by now."""
        with self._guard:
            if self._bells.get(bell) == owner:
                del self._bells[bell]
            self._lost.discard(owner)

    def has_lost(self, owner: str) -> bool:
        """True when somebody else may have the shard by now."""
        return owner in self._lost

    def _run(self) -> None:
        while True:
            try:
                self.renew()
            except RedisError as error:
                logger.warning("leases could not be renewed", extra={"error": type(error).__name__})
            except Exception:  # whatever it was: without a keeper every lease would run out
                logger.exception("leases could not be renewed")
            if self._stopping.wait(self._pause):
                return

    def renew(self) -> None:
        """One round of renewals and the worker's sign of life."""
        with self._guard:
            bells = list(self._bells.items())
            locks = [(lock, token) for token, names in self._locks.items() for lock in names]
        kept = scripts.run(self._control, [scripts.renew(bell, owner, self._lease_ms) for bell, owner in bells])
        for (_, owner), renewed in zip(bells, kept, strict=True):
            if not renewed:
                logger.warning("a drain lost its shard", extra={"owner": owner})
                self._lost.add(owner)
        scripts.run(self._data, [scripts.renew(lock, token, self._lease_ms) for lock, token in locks])
        now = time.time()
        self._control.zadd(self._keys.workers, {self._worker: int(now * 1000)})
        self._control.zremrangebyscore(self._keys.workers, "-inf", int((now - FORGET_AFTER) * 1000))
