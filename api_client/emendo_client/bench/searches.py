"""Scoped search: the client's against the very command it sends, sent bare."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from emendo_client import reads
from emendo_client.bench.store import MeasurementError, Store
from emendo_client.filters import scoped

LIMIT = 10


@dataclass(frozen=True, slots=True)
class Searches:
    """Latencies of one round, in seconds, and how many provider requests it cost."""

    latencies: list[float]
    requests: int | None


def client_searches(store: Store, query: str, users: Sequence[str]) -> Searches:
    """One `client.search` for each user, the query having been asked once before.

    With a client that keeps the embeddings of queries, `requests` is 0; else each search paid one.
    """
    store.client.search(query, users[0], limit=LIMIT)
    before = store.provider_requests() if store.provider_requests else None
    latencies = []
    for user in users:
        began = time.perf_counter()
        hits = store.client.search(query, user, limit=LIMIT)
        latencies.append(time.perf_counter() - began)
        if not hits:
            raise MeasurementError("a search found nothing")
    after = store.provider_requests() if store.provider_requests else None
    return Searches(latencies, None if before is None or after is None else after - before)


def raw_searches(store: Store, vector: bytes, users: Sequence[str]) -> Searches:
    """The same FT.SEARCH commands without the client: nothing is parsed into objects.

    Args:
        vector: float32[dimensions], the query's.
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
    asked = next(reads.search(store.keys, wanted, store.settings.space.field, vector, LIMIT))
    return asked.commands[0]
