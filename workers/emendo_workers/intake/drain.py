"""One drain: works one shard, or several that were merged, until their inboxes are empty or its time is over.

claim ── another drain holds the shard ──> end
  |   └── no free slot: too many drains of this kind run here ──> give the shard back; the next free slot wakes it
  |
recover what a dead reader left (`recovery.py`)
  |
read a batch <────────┐
  |                   |
start, work, finish   |   (`attempt.py`)
  |                   |
close ── more ────────┘
  |        └── batches are small and many drains run here: another one takes the shards over (`shard_merging.py`)
  |
  ├── silent: the inbox is empty and the wake-up key is gone
  ├── ring:   the time budget is over or the process is to end, and a successor is woken
  └── lost:   the lease ran out, and another worker has the shard
"""

from __future__ import annotations

import itertools
import logging
import time
from contextlib import ExitStack, suppress
from functools import partial

from redis.exceptions import RedisError

from emendo_client.exchanges.redis_errors import translate
from emendo_config.queues import INFERENCE, INTERACTIVE
from emendo_config.shards import queue_of
from emendo_config.store.formats import drain_owner
from emendo_config.store.refusals import is_refused
from emendo_workers.intake import inbox
from emendo_workers.intake.attempt import BatchRunner
from emendo_workers.intake.recovery import recover
from emendo_workers.intake.shard_claims import ShardClaims
from emendo_workers.runtime.concurrency import ConcurrencyLimiter
from emendo_workers.runtime.shard_merging import FAST_BATCH, ShardClaim, ShardPool
from emendo_workers.services import Services

logger = logging.getLogger(__name__)

# Seconds between two looks for entries that were read and not ended. Between batches there are none, unless the answer
# to a read was lost.
LOOK_INTERVAL = 1.0
# Seconds to wait, once more each time, while a shard has entries that nobody can read.
IDLE_PAUSE = 0.02

_counter = itertools.count(1)


class Drain:
    """One task's drain of its shard, and of the shards it receives meanwhile; call `run` once.

    Args:
        services: the worker's.
        shard: its first one.
        hostname: the worker's, as Celery names it.
        slot_until: the end of the time of the drain that handed its slot over; None for the first one of a task.

    Attributes:
        next_shard: the shard to which it handed its slot over, and which its thread must work now.
    """

    def __init__(
        self, services: Services, shard: str, hostname: str | None = None, *, slot_until: float | None = None
    ) -> None:
        self._services = services
        self._hostname = hostname
        self._has_slot = slot_until is not None
        self._ends = time.monotonic() + services.settings.drain_budget if slot_until is None else slot_until
        self.next_shard: str | None = None
        self._queue = queue = queue_of(shard)
        # Slow jobs come one at a time: a chunk is a batch already, and the chat model takes seconds for a job.
        is_slow = queue != INTERACTIVE and (queue != INFERENCE or services.chat is not None)
        self._max_batch = 1 if is_slow else services.settings.drain_batch
        self._limiters: list[ConcurrencyLimiter] = [services.background_limiter] if is_slow else []
        if queue == INFERENCE and is_slow:
            self._limiters.append(services.chat_limiter)
        # Only interactive shards are merged; every other drain is alone in a pool of its own.
        self._pool = services.shard_pool if queue == INTERACTIVE else ShardPool(self._max_batch)
        self._name = drain_owner(services.worker, next(_counter))
        keys = services.store.keys
        self._own = ShardClaim(shard, keys.inbox(shard), keys.wakeup(shard), self._name)
        self._claims = ShardClaims(services.store, services.notifier, services.leases)
        self._runner = BatchRunner(services, shard, self._name, hostname)

    def run(self) -> int:
        """Works the shard's inbox until it is empty or the time budget is over, and then shards that wait for its slot.

        Returns:
            How many attempts at jobs were made, on all shards worked. It is 0 when another drain has the shard, or
            this process runs as many drains of this kind as it may. It is 0 while a worker's fault blocks the queue.

        Raises:
            RedisError: Redis failed; the lease runs out and the sweeper wakes the shard again.
        """
        drain, count = self, self.work_shard()
        while drain.next_shard is not None:
            drain = Drain(self._services, drain.next_shard, self._hostname, slot_until=self._ends)
            count += drain.work_shard()
        return count

    def work_shard(self) -> int:
        """Does the same for the first shard alone."""
        try:
            return self._run()
        except RedisError as error:
            if not is_refused(error):
                raise
            self._services.report_rights_fault(translate(error))  # the jobs wait, and no attempt is spent
            with suppress(RedisError):
                self._claims.leave(self._own)
            return 0

    def _run(self) -> int:
        with ExitStack() as slots:
            if self._has_slot:
                slots.push(partial(self._free, self._limiters[0]))
            if not self._claims.claim(self._own):
                return 0
            if self._services.faults.blocks(self._queue):
                self._claims.leave(self._own)
                return 0
            for limiter in self._limiters[self._has_slot :]:
                if not limiter.try_acquire():
                    if self._claims.give_back(self._own):
                        limiter.notify_when_free(self._own.shard)
                    return 0
                slots.push(partial(self._free, limiter))
            return self._drain()

    def _free(self, limiter: ConcurrencyLimiter, failed: type[BaseException] | None, *_: object) -> None:
        """Hands a slot over to the shard that waits for it, while this thread has time."""
        is_first = limiter is self._limiters[0]
        if is_first and not failed and time.monotonic() < self._ends and not self._services.stopping.is_set():
            self.next_shard = limiter.hand_over()
        else:
            limiter.release()

    def _drain(self) -> int:
        services, claims, pool, name = self._services, self._claims, self._pool, self._name
        store = services.store
        claims.hold(self._own)
        pool.register(name)
        try:
            inbox.ensure_group(store.control, self._own.inbox)
            count, looked, idle = self._recover(), time.monotonic(), 0
            while claims.held:
                began = time.monotonic()
                each = max(1, self._max_batch // len(claims.held))  # an even share for each shard
                entries = inbox.read_new(store.control, claims.inboxes, each)
                jobs = self._runner.run(entries)
                count += jobs
                is_fast = time.monotonic() - began < FAST_BATCH
                if time.monotonic() >= self._ends or self._gives_up:
                    claims.close(given_up=claims.held)
                else:  # when the provider is slow, each shard waits for it in a thread of its own
                    claims.close(given_up=[] if is_fast else claims.held[1:])
                    if not entries or self._runner.has_left_some or time.monotonic() - looked > LOOK_INTERVAL:
                        found = self._recover()
                        count, looked = count + found, time.monotonic()
                        idle = 0 if entries or found else idle + 1
                        if idle > 1 and claims.held:  # neither new nor left entries, and yet the inbox is not empty
                            time.sleep(min(IDLE_PAUSE * idle, LOOK_INTERVAL))
                claims.receive(pool.record_batch(name, len(claims.held), jobs if is_fast else self._max_batch))
                if not claims.held:
                    claims.receive(pool.finish(name))
                elif pool.merge(name, claims.held):
                    claims.pass_on()
        finally:  # there is something left to release only when Redis failed
            claims.release(pool.remove(name))
        logger.debug("drained", extra={"shard": self._own.shard, "attempts": count})
        return count

    def _recover(self) -> int:
        """Works what was read from the held shards and not ended; how many attempts were made."""
        services = self._services
        self._runner.has_left_some = False
        return sum(
            recover(services.store, self._runner, services.poison_lock, stream, self._max_batch)
            for stream in self._claims.inboxes
        )

    @property
    def _gives_up(self) -> bool:
        """True when the process is to end, may not work this queue, or another shard waits for a slot."""
        services = self._services
        has_waiting = any(limiter.has_waiting for limiter in self._limiters)
        return has_waiting or services.stopping.is_set() or services.faults.blocks(self._queue)
