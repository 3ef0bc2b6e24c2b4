"""Throughput and latency over the number of stored memories, and over the worker's threads."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

from plan import Plan
from seeds import users
from throughput import warm_store

from emendo_client.bench import searches, updates
from emendo_client.bench.spread import Spread, percentile
from emendo_client.bench.store import Store
from emendo_client.bench.visibility import visible_after
from emendo_client.testing.vectors import embed
from emendo_config.worker_process import WORKER_THREADS

STORED = (2_000, 20_000, 100_000, 200_000)
THREADS = (1, 2, 4, WORKER_THREADS, 16, 32)
_UPDATES, _VISIBLE, _VISIBLE_RATE, _SEARCHES = 2_000, 250, 50.0, 200


def take(plan: Plan) -> dict[str, list[dict[str, Any]]]:
    """Both curves: a list of points each, `x` and a spread of rounds for each metric."""
    return {
        "store_size": list(_over_size(plan)),
        "concurrency": list(_over_concurrency(plan)),
    }


def _over_size(plan: Plan) -> Iterator[dict[str, Any]]:
    for memories in STORED:
        with warm_store(plan.bed, plan.size(memories)) as store:
            yield _point(plan, len(store.ids), store)


def _over_concurrency(plan: Plan) -> Iterator[dict[str, Any]]:
    for threads in THREADS:
        with warm_store(plan.bed, plan.size(_UPDATES), concurrency=threads) as store:
            yield {**_point(plan, threads, store), "default": threads == WORKER_THREADS}


def _point(plan: Plan, x: int, store: Store) -> dict[str, Any]:
    rates, visible, found = [], [], []
    vector = embed("what does the person now say")
    few = store.ids[: plan.size(_VISIBLE)]
    asked = (users(len(store.ids)) * _SEARCHES)[: plan.size(_SEARCHES)]
    for number in range(plan.rounds):
        rates.append(updates.singles(store, store.ids[: plan.size(_UPDATES)], f"round {number}").rate)
        visible.append(percentile(visible_after(store, few, _VISIBLE_RATE, f"curve {number}"), 0.5) * 1_000)
        found.append(statistics.median(searches.raw_searches(store, vector, asked).latencies) * 1_000)
    return {
        "x": x,
        "updates_per_second": Spread.of(rates).document(),
        "visible_p50_ms": Spread.of(visible).document(),
        "search_p50_ms": Spread.of(found).document(),
    }
