"""Renews a worker's leases while it works, and keeps the worker on the list of living ones.

There is one thread for each process. A worker that dies, or that stands still longer than the lease, loses its leases.
Jobs may then be worked twice, but no change is made twice (see `commit.lua`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from redis.exceptions import RedisError

from emendo_client.exchanges.health import WORKER_SILENCE
from emendo_config.store import scripts
from emendo_workers.store import Store

logger = logging.getLogger(__name__)

# Renewals within the time a lease lasts.
RENEWALS_PER_LEASE = 3
# Seconds after its last sign of life at which a worker is taken off the list.
FORGET_AFTER = 3_600.0


class LeaseRenewer:
    """Renews claims of shards (control plane) and locks of memories (data plane) until they are given back.

    Attributes:
        fault: why the worker claims no jobs, as JSON; empty when it does. It is told with each sign of life.
    """

    def __init__(self, store: Store, worker: str) -> None:
        self._store = store
        self._worker = worker
        # A worker with long leases must not look dead meanwhile.
        self._pause = min(store.settings.lease, WORKER_SILENCE) / RENEWALS_PER_LEASE
        self._guard = threading.Lock()
        self._locks: dict[str, Sequence[str]] = {}
        self._claims: dict[str, str] = {}
        self._lost: set[str] = set()
        self._closing: set[str] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="emendo-leases", daemon=True)
        self.fault = ""

    def start(self) -> None:
        """Starts the thread that renews."""
        self._thread.start()

    def stop(self) -> None:
        """Stops renewing and takes the worker off the list."""
        self._stopping.set()
        if self._thread.ident is None:
            return
        self._thread.join()
        try:
            self._store.control.zrem(self._store.keys.workers, self._worker)
            self._store.control.hdel(self._store.keys.worker_faults, self._worker)
        except RedisError as error:
            logger.warning("could not take the worker off the list", extra={"error": type(error).__name__})

    @contextmanager
    def renewing(self, locks: Sequence[str], token: str) -> Iterator[None]:
        """Renews memory locks that hold `token` while the block runs."""
        with self._guard:
            self._locks[token] = locks
        try:
            yield
        finally:
            with self._guard:
                del self._locks[token]

    def add(self, wakeup: str, owner: str) -> None:
        """Renews a claimed shard's wake-up key from now on, whichever drain works the shard."""
        with self._guard:
            self._claims[wakeup] = owner
            self._lost.discard(owner)

    def remove(self, wakeup: str, owner: str) -> None:
        """Stops renewing the key, unless another drain has claimed the shard since."""
        with self._guard:
            if self._claims.get(wakeup) == owner:
                del self._claims[wakeup]
            self._lost.discard(owner)

    @contextmanager
    def closing(self, owners: Collection[str]) -> Iterator[None]:
        """While the block runs, these claims may be given back: a lease that is not there any more is not lost."""
        with self._guard:
            self._closing.update(owners)
        try:
            yield
        finally:
            with self._guard:
                self._closing.difference_update(owners)

    def is_lost(self, owner: str) -> bool:
        """True when another worker may have the shard by now."""
        return owner in self._lost

    def _run(self) -> None:
        while True:
            try:
                self.renew()
            except RedisError as error:
                logger.warning("leases could not be renewed", extra={"error": type(error).__name__})
            except Exception:  # any defect: without this thread every lease would run out
                logger.exception("leases could not be renewed")
            if self._stopping.wait(self._pause):
                return

    def renew(self) -> None:
        """Renews every lease once and gives the worker's sign of life."""
        with self._guard:
            claims = list(self._claims.items())
            locks = [(lock, token) for token, names in self._locks.items() for lock in names]
        store, lease_ms = self._store, self._store.lease_ms
        kept = scripts.run(
            store.control, [scripts.renew(lease=wakeup, token=owner, ttl_ms=lease_ms) for wakeup, owner in claims]
        )
        for (wakeup, owner), renewed in zip(claims, kept, strict=True):
            if not renewed and self._note_loss(wakeup, owner):
                logger.warning("a drain lost its shard", extra={"owner": owner})
        scripts.run(store.data, [scripts.renew(lease=lock, token=token, ttl_ms=lease_ms) for lock, token in locks])
        self.give_sign_of_life()

    def _note_loss(self, wakeup: str, owner: str) -> bool:
        with self._guard:
            is_lost = self._claims.get(wakeup) == owner and owner not in self._closing
            if is_lost:
                self._lost.add(owner)
            return is_lost

    def give_sign_of_life(self) -> None:
        """Puts the worker on the list of living ones, with its fault if it has one."""
        keys = self._store.keys
        sign = scripts.sign_of_life(
            workers=keys.workers,
            faults=keys.worker_faults,
            worker=self._worker,
            fault=self.fault,
            forget_ms=FORGET_AFTER * 1000,
        )
        scripts.run(self._store.control, [sign])
