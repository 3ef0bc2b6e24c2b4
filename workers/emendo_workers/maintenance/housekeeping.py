"""The periodic clean-up that Celery beat starts: lists are trimmed, memories expire, old spaces are removed."""

from __future__ import annotations

import logging
import secrets

from emendo_client.errors import VectorStoreError
from emendo_client.exchanges import accept
from emendo_client.exchanges.reembedding import control as reembedding
from emendo_client.exchanges.reembedding import status
from emendo_client.transport.wakeup import ShardNotifier
from emendo_config.error_codes import ErrorCode
from emendo_config.store import scripts
from emendo_config.store.formats import grace_key
from emendo_workers.jobs.submit import run_exchange
from emendo_workers.maintenance.append_only import rewrite_after_erasures
from emendo_workers.maintenance.dead_letters import adopt_unsorted, discard_old
from emendo_workers.maintenance.expiry import expire_memories
from emendo_workers.maintenance.metadata_tags import renew_tags
from emendo_workers.maintenance.project_lists import find_projects, tidy_lists
from emendo_workers.maintenance.word_index import index_words
from emendo_workers.memories.erasure import finish_abandoned
from emendo_workers.runtime.steps import run_step
from emendo_workers.store import Store

logger = logging.getLogger(__name__)

_HOUR = 3_600.0
_TASK = "housekeeping"


def keep_house(store: Store, notifier: ShardNotifier, now: float) -> dict[str, int]:
    """Trims the lists of jobs and conflicts, expires memories, and ends the grace period of a re-embedding.

    One process at a time does it; its end is noted, so that health and alerts show when nobody does.
    A step that fails is logged, and the others run.

    Args:
        store: the worker's.
        notifier: wakes the shards of the jobs it submits.
        now: seconds since the epoch, by the control Redis.

    Returns:
        Counts: `lists` looked at, entries `removed` from them, memories `expired`. Further `sorted_dead`, dead letters
        of earlier releases that were moved; `discarded_dead`, those older than `EMENDO_DEAD_TTL`; and `aof_rewrites`.
        `words` counts memories that got the words for full-text search.
        `tagged` counts memories of earlier releases that got new metadata tags.
        Empty when another process is at it.
    """
    control, keys = store.control, store.keys
    token = secrets.token_hex(16)
    lease_ms = store.settings.task_time_limit * 1_000  # the task is killed then
    taken = scripts.run(control, [scripts.take(lease=keys.housekeeper, token=token, ttl_ms=lease_ms)])
    if not scripts.take.reply(taken[0]):
        logger.info("another process keeps house")
        return {}
    try:
        run_step(_TASK, lambda: find_projects(store))
        horizon = int((now - store.settings.job_ttl) * 1_000_000)
        counts = run_step(_TASK, lambda: tidy_lists(store, horizon)) or {"lists": 0, "removed": 0}
        counts["expired"] = run_step(_TASK, lambda: _expire(store, notifier, now)) or 0
        counts["sorted_dead"] = run_step(_TASK, lambda: adopt_unsorted(store)) or 0
        counts["discarded_dead"] = run_step(_TASK, lambda: discard_old(store, now)) or 0
        counts["aof_rewrites"] = run_step(_TASK, lambda: rewrite_after_erasures(store, now)) or 0
        counts["words"] = run_step(_TASK, lambda: index_words(store, now)) or 0
        run_step(_TASK, lambda: finish_abandoned(store, now))
        run_step(_TASK, lambda: _end_grace(store, notifier, now))
        counts["tagged"] = run_step(_TASK, lambda: renew_tags(store, now)) or 0
        ended = ["ended", int(store.control_time() * 1_000)]
        scripts.run(control, [scripts.note(hash=keys.housekeeping, fields=ended)])
    finally:
        scripts.run(control, [scripts.release(lease=keys.housekeeper, token=token)])
    logger.info("housekeeping done", extra=counts)
    return counts


def _expire(store: Store, notifier: ShardNotifier, now: float) -> int:
    try:
        return expire_memories(store, notifier, now)
    except VectorStoreError as error:
        if error.error_code != ErrorCode.OUT_OF_MEMORY:
            raise
        logger.warning("expired memories are marked later: Redis is full")  # reads hide them anyway
        return 0


def _end_grace(store: Store, notifier: ShardNotifier, now: float) -> None:
    """Submits the removal of a re-embedding's old space once its grace period is over."""
    migration = run_exchange(store, status.migration(store.keys, store.settings.reembed_grace))
    if migration is None or migration.drops_at is None or migration.drops_at.timestamp() > now:
        return
    # The hour in the key lets a removal that failed be submitted again an hour later.
    key = grace_key(migration.job_id, int(now // _HOUR))
    request = reembedding.request(
        store.settings.project, reembedding.FINALIZE, migration=migration.job_id, idempotency_key=key
    )
    _, wakeups = run_exchange(store, accept.accept(store.settings, store.keys, request))
    notifier.notify_each(wakeups)
