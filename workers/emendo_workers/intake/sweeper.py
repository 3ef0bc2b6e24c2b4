"""The sweeper: finds within seconds what was left behind.

It wakes shards that have jobs and no drain on its way: the drain died, or the broker lost its message. It returns
delayed jobs that are due, and closes batch jobs whose caller went away. Every worker runs a sweeper. The
lease only saves work, since for every step a script decides which caller wins.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Sequence
from typing import Any

from redis.exceptions import RedisError, ResponseError

from emendo_client.errors import EmendoError, JobError, VectorStoreError
from emendo_client.requests.batches import BatchRequest
from emendo_config import project_limits
from emendo_config.error_codes import ErrorCode
from emendo_config.shards import is_shard
from emendo_config.spaces.bootstrap import restore_indexes
from emendo_config.spaces.indexes import described
from emendo_config.spaces.replacement import replace_open_indexes
from emendo_config.store import scripts
from emendo_config.store.formats import split_delayed_member, woken_by
from emendo_config.store.pipeline import as_text
from emendo_workers.jobs.store_outages import is_away
from emendo_workers.jobs.submit import submit_batch
from emendo_workers.runtime.memory_limit import announce
from emendo_workers.runtime.steps import run_step
from emendo_workers.services import Services

logger = logging.getLogger(__name__)

# Seconds between two checks of the search index.
INDEX_CHECK_INTERVAL = 5.0
# Seconds that one sweep returns delayed jobs; the other steps must not wait longer.
LONGEST_RETURN = 2.0
# Delayed jobs that are returned in one round trip, and abandoned batch jobs that are closed in one sweep.
PAGE = 1_000


class Sweeper:
    """Sweeps every `EMENDO_SWEEP_INTERVAL` seconds, on a thread of its own."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._index_checked = time.monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="emendo-sweeper", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Makes the current sweep the last one."""
        self._stopping.set()

    def join(self, timeout: float) -> None:
        """Waits for the last sweep, at most `timeout` seconds: it may hang while the broker is away."""
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stopping.wait(self._services.settings.sweep_interval):
            try:
                if self._has_lease():
                    self.sweep()
            except (RedisError, EmendoError) as error:
                logger.warning("could not sweep", extra={"error": type(error).__name__})
            except Exception:  # any defect: without a sweeper, waiting jobs would wait for ever
                logger.exception("a sweep failed")

    def _has_lease(self) -> bool:
        """True when this sweeper has the lease; if its holder dies, another one takes over within two intervals."""
        services = self._services
        lease_ms = int(services.settings.sweep_interval * 2_000)
        lease = services.keys.sweeper
        taken = scripts.take(lease=lease, token=services.worker, ttl_ms=lease_ms)
        return scripts.take.reply(scripts.run(services.control, [taken])[0])

    def sweep(self) -> set[str]:
        """Looks at everything once; the shards it woke. A step that fails is logged, and the others run."""
        now = self._now_ms()
        returned: set[str] = set()
        woken: set[str] = set()
        for step in (
            lambda: announce(self._services.store),
            lambda: self._requeue_due(now, returned),
            lambda: self._fill_windows(woken),
            lambda: self._wake_forgotten(woken),
            lambda: self._close_abandoned(now),
            self._check_index,
        ):
            run_step("a sweep", step)
        self._services.notifier.notify_each(sorted(woken))
        return returned | woken

    def _requeue_due(self, now: int, woken: set[str]) -> None:
        """Returns delayed jobs to their inboxes until none is due, as far as time allows; adds the shards it woke."""
        ends = time.monotonic() + LONGEST_RETURN
        while True:
            shards: set[str] = set()
            found = self._requeue_page(now, shards)
            self._services.notifier.notify_each(sorted(shards))
            woken |= shards
            if found < PAGE or time.monotonic() >= ends:
                return

    def _requeue_page(self, now: int, woken: set[str]) -> int:
        """Returns the delayed jobs that are due longest; how many it found."""
        services, keys = self._services, self._services.keys
        due: list[Any] = services.control.zrangebyscore(keys.delayed, "-inf", now, start=0, num=PAGE)
        jobs = {member: split_delayed_member(as_text(member)) for member in due}
        damaged = [member for member, (shard, record_id) in jobs.items() if not (is_shard(shard) and record_id)]
        for member in damaged:
            if (found := self._repaired(member)) is None:
                logger.warning("a delayed entry names no job and is dropped")  # it may hold anything
                services.control.zrem(keys.delayed, member)
                del jobs[member]
            else:
                jobs[member] = found
        replies = scripts.run_each(
            services.control,
            [
                scripts.requeue(
                    delayed=keys.delayed,
                    inbox=keys.inbox(shard),
                    wakeup=keys.wakeup(shard),
                    shards=keys.shards,
                    member=member,
                    record_id=record_id,
                    shard=shard,
                    woken_by=woken_by(uuid.uuid4().hex),
                    wakeup_ttl_ms=self._services.settings.wakeup_ttl_ms,
                )
                for member, (shard, record_id) in jobs.items()
            ],
        )
        woken.update(_that_rang([shard for shard, _ in jobs.values()], replies))
        return len(due)

    def _fill_windows(self, woken: set[str]) -> None:
        """Admits waiting records to windows that have room, whatever became of those in them; adds shards to wake."""
        services, keys = self._services, self._services.keys
        lanes = [as_text(name).partition(":") for name in sorted(services.control.smembers(keys.waiting_lanes))]
        windows = project_limits.windows(keys, services.settings)
        commands = [scripts.admit(lane=lane, project=project, windows=windows) for lane, _, project in lanes]
        for (lane, _, project), reply in zip(lanes, scripts.run_each(services.control, commands), strict=True):
            if not isinstance(reply, ResponseError):
                woken.update(scripts.admit.reply(reply))
            elif is_away(reply):
                raise reply
            else:
                logger.error("a project's waiting list is damaged", extra={"lane": lane, "project": project})

    def _repaired(self, member: Any) -> tuple[str, str] | None:
        """The shard and the record id of a damaged member, if its record has them."""
        keys, control = self._services.keys, self._services.control
        before, _, after = as_text(member).partition(":")
        for record_id in filter(None, (after, before)):
            (shard,) = scripts.run_each(control, [("HGET", keys.job(record_id), "shard")])
            if isinstance(shard, bytes) and is_shard(as_text(shard)):
                return as_text(shard), record_id
        return None

    def _wake_forgotten(self, woken: set[str]) -> None:
        """Wakes shards that have jobs and no wake-up key; adds these shards."""
        services, keys = self._services, self._services.keys
        shards = sorted(filter(is_shard, map(as_text, services.control.smembers(keys.shards))))
        replies = scripts.run_each(
            services.control,
            [
                scripts.wake(
                    wakeup=keys.wakeup(shard),
                    inbox=keys.inbox(shard),
                    woken_by=woken_by(uuid.uuid4().hex),
                    wakeup_ttl_ms=self._services.settings.wakeup_ttl_ms,
                )
                for shard in shards
            ],
        )
        woken.update(_that_rang(shards, replies))

    def _check_index(self) -> None:
        """Creates a lost index again, and replaces one that an earlier release made with an open prefix.

        FLUSHDB on any database of the server drops all indexes, also on the broker's.
        """
        if time.monotonic() - self._index_checked < INDEX_CHECK_INTERVAL:
            return
        self._index_checked = time.monotonic()
        data, keys = self._services.data, self._services.keys
        behind = described(data, keys.index_alias)
        if behind is None:
            logger.error("the search index is gone and is created again")
            restore_indexes(data, self._services.settings)
        else:
            replace_open_indexes(data, self._services.settings, behind)

    def _close_abandoned(self, now: int) -> None:
        """Closes batch jobs whose caller went away while it sent items; they end with the items they have."""
        services, keys = self._services, self._services.keys
        horizon = now - int(services.settings.batch_idle * 1000)
        idle: list[Any] = services.control.zrangebyscore(keys.accepting, "-inf", horizon, start=0, num=PAGE)
        for raw in idle:
            try:
                self._close_batch(as_text(raw))
            except (JobError, ValueError, TypeError):  # it ended and was not taken off the list, or is no batch job
                services.control.zrem(keys.accepting, raw)
            except VectorStoreError as error:
                if error.error_code != ErrorCode.RECORD_UNREADABLE:
                    raise
                services.control.zrem(keys.accepting, raw)

    def _close_batch(self, job_id: str) -> None:
        services = self._services
        names = ("kind", "project")
        (found,) = scripts.run_each(services.control, [("HMGET", services.keys.job(job_id), *names)])
        if isinstance(found, ResponseError):
            if is_away(found):
                raise found
            raise TypeError("no job's record")
        kind, project = map(as_text, found)
        logger.warning("a batch job's caller went away; it is closed", extra={"job": job_id})
        request = BatchRequest(job_id, kind, project, [])
        submit_batch(services.store, services.notifier, request, [request.closing()])

    def _now_ms(self) -> int:
        """The time by Redis's clock, which wrote the times it is compared with."""
        seconds, microseconds = self._services.control.time()
        return int(seconds) * 1_000 + int(microseconds) // 1_000


def _that_rang(shards: Sequence[str], replies: Sequence[Any]) -> set[str]:
    """The shards that a script woke; Redis refuses a shard whose keys are damaged."""
    for shard, reply in zip(shards, replies, strict=True):
        if isinstance(reply, ResponseError):
            if is_away(reply):
                raise reply
            logger.error("a shard's keys are damaged", extra={"shard": shard, "error": str(reply).partition(" ")[0]})
    return {shard for shard, rang in zip(shards, replies, strict=True) if rang == 1}
