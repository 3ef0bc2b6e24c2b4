"""Batch jobs that workers submit themselves, by the same exchanges and scripts as clients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from emendo_client.exchanges import accept
from emendo_client.exchanges.exchange import Exchange, run
from emendo_client.requests.batches import Append, BatchRequest
from emendo_client.transport.wakeup import ShardNotifier
from emendo_config.store.scripts import sender_for
from emendo_workers.store import Store

T = TypeVar("T")


def run_exchange(store: Store, exchange: Exchange[T]) -> T:
    """Runs an exchange of the client over the worker's connections; its result."""
    return run({"data": sender_for(store.data), "control": sender_for(store.control)}, exchange)


def submit_batch(
    store: Store, notifier: ShardNotifier, request: BatchRequest, parts: Iterable[Append] | None = None
) -> str:
    """Submits a batch job, or the given parts of one, and wakes its shards; the job's id."""
    for part in request.appends(store.settings) if parts is None else parts:
        done = run_exchange(store, accept.append(store.settings, store.keys, request, part))
        notifier.notify_each(done.shards)
    return request.job_id
