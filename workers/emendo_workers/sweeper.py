"""The sweeper: what was dropped on the floor is picked up here, within seconds.

It rings for shards whose jobs nobody is coming for (bell expired, drain died, broker lost the message),
returns delayed jobs whose time has come, and closes batch jobs whose caller went away. Every worker runs one;
the lease only saves work, since every step is decided by a script that one caller wins.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid

from redis.exceptions import RedisError

from emendo_client.batches import BatchRequest
from emendo_client.errors import EmendoError, JobError
from emendo_config.index import indexed_space, restore_indexes
from emendo_config.redis_io import as_text
from emendo_workers import scripts
from emendo_workers.services import Services
from emendo_workers.submitting import submit_batch

logger = logging.getLogger(__name__)

# Seconds between two looks at the search index.
INDEX_EVERY = 5.0
# Delayed jobs returned in one look.
MOST_AT_ONCE = 1_000


class Sweeper:
    """Looks every `EMENDO_SWEEP_INTERVAL` seconds, on a thread of its own."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._index_seen = time.monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="emendo-sweeper", daemon=True)

    def start(self) -> None:
        """Begins to sweep."""
        self._thread.start()

    def stop(self) -> None:
        """Lets the look under way be the last one."""
        self._stopping.set()

    def join(self, timeout: float) -> None:
        """Waits for the end of the last look, at most so many seconds: a broker that is away holds it up."""
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stopping.wait(self._services.settings.sweep_interval):
            try:
                if self._is_ours():
                    self.sweep()
            except (RedisError, EmendoError) as error:
                logger.warning("could not sweep", extra={"error": type(error).__name__})
            except Exception:  # whatever it was: without a sweeper jobs that wait would do so for ever
                logger.exception("a look of the sweeper failed")

    def _is_ours(self) -> bool:
        """One sweeper at a time is enough; when it dies another takes over within two looks."""
        services = self._services
        lease_ms = int(services.settings.sweep_interval * 2_000)
        lease = services.keys.sweeper
        if services.control.set(lease, services.worker, nx=True, px=lease_ms):
            return True
        return bool(scripts.run(services.control, [scripts.renew(lease, services.worker, lease_ms)])[0])

    def sweep(self) -> set[str]:
        """One look at everything; returns the shards it rang for."""
        now = self._now_ms()
        self._close_abandoned(now)
        self._look_after_the_index()
        rang = self._requeue_due(now) | self._ring_forgotten()
        self._services.bell.ring_each(sorted(rang))
        return rang

    def _requeue_due(self, now: int) -> set[str]:
        services, keys = self._services, self._services.keys
        due = services.control.zrangebyscore(keys.delayed, "-inf", now, start=0, num=MOST_AT_ONCE)
        members = [as_text(member).partition(":") for member in due]
        replies = scripts.run(
            services.control,
            [
                scripts.requeue(
                    keys.delayed,
                    keys.inbox(shard),
                    keys.bell(shard),
                    keys.shards,
                    job_id=job_id,
                    shard=shard,
                    ring_id=uuid.uuid4().hex,
                    ring_ttl_ms=self._ring_ttl_ms,
                )
                for shard, _, job_id in members
            ],
        )
        return {shard for (shard, _, _), rang in zip(members, replies, strict=True) if rang}

    def _ring_forgotten(self) -> set[str]:
        services, keys = self._services, self._services.keys
        shards = sorted(as_text(shard) for shard in services.control.smembers(keys.shards))
        replies = scripts.run(
            services.control,
            [
                scripts.ring(keys.bell(shard), keys.inbox(shard), uuid.uuid4().hex, self._ring_ttl_ms)
                for shard in shards
            ],
        )
        return {shard for shard, rang in zip(shards, replies, strict=True) if rang}

    def _look_after_the_index(self) -> None:
        """Makes a lost index anew: FLUSHDB on any database of the server, the broker's for one, drops it."""
        if time.monotonic() - self._index_seen < INDEX_EVERY:
            return
        self._index_seen = time.monotonic()
        if indexed_space(self._services.data, self._services.keys) is None:
            logger.error("the search index is gone; it is made anew")
            restore_indexes(self._services.data, self._services.settings)

    def _close_abandoned(self, now: int) -> None:
        """Batch jobs whose caller went away while it sent items end with what they have."""
        services, keys = self._services, self._services.keys
        horizon = now - int(services.settings.batch_idle * 1000)
        for raw in services.control.zrangebyscore(keys.accepting, "-inf", horizon, start=0, num=MOST_AT_ONCE):
            job_id = as_text(raw)
            kind, project = map(as_text, services.control.hmget(keys.job(job_id), "kind", "project"))
            logger.warning("a batch job's caller went away; it is closed", extra={"job": job_id})
            request = BatchRequest(job_id, kind, project, [])
            try:
                submit_batch(services, request, [request.closing()])
            except JobError:  # it ended without being taken off the list
                services.control.zrem(keys.accepting, job_id)

    def _now_ms(self) -> int:
        """Of the clock that the times it is compared with were written by: Redis's, not this machine's."""
        seconds, microseconds = self._services.control.time()
        return int(seconds) * 1_000 + int(microseconds) // 1_000

    @property
    def _ring_ttl_ms(self) -> int:
        return int(self._services.settings.ring_ttl * 1000)
