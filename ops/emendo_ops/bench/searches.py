"""Scoped searches: the client's, and the same command without the client."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from emendo_client.exchanges import memories
from emendo_client.requests.filters import scoped
from emendo_config.store.clock import seconds_of
from emendo_ops.bench.store import MeasurementError, Store

LIMIT = 10


@dataclass(frozen=True, slots=True)
class Searches:
    """One round: latencies in seconds, and the number of provider requests."""

    latencies: list[float]
    requests: int | None


def client_searches(store: Store, query: str, users: Sequence[str], mode: str = "vector") -> Searches:
    """One `client.search` in this mode for each user, after one unmeasured search with the same query.

    `requests` is 0 if the client caches the query's embedding; else it is one for each search.
    """
    store.client.search(query, users[0], limit=LIMIT, mode=mode)
    before = store.provider_requests() if store.provider_requests else None
    latencies = []
    for user in users:
        began = time.perf_counter()
        hits = store.client.search(query, user, limit=LIMIT, mode=mode)
        latencies.append(time.perf_counter() - began)
        if not hits:
            raise MeasurementError("a search found nothing")
    after = store.provider_requests() if store.provider_requests else None
    return Searches(latencies, None if before is None or after is None else after - before)


def raw_searches(store: Store, vector: bytes, users: Sequence[str]) -> Searches:
    """The same FT.SEARCH commands without the client, so nothing is parsed into objects.

    Args:
        vector: float32[dimensions], the query's embedding.
    """
    latencies = []
    for user in users:
        command = _command(store, vector, user)
        began = time.perf_counter()
        reply: Any = store.data.execute_command(*command)
        latencies.append(time.perf_counter() - began)
        if not reply[0]:
            raise MeasurementError("a search found nothing")
    return Searches(latencies, 0)


def _command(store: Store, vector: bytes, user: str) -> Sequence[Any]:
    wanted = scoped(store.client.project, user, None, None, None, all_users=False)
    now = seconds_of(store.data.time())
    return memories.nearest(store.keys, wanted, store.settings.space.field, vector, LIMIT, now=now)
