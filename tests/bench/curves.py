"""Throughput and latency over the number of stored memories, and over the worker's threads."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

from emendo_client.testing.openai_server.vectors import embed
from emendo_config.worker_process import WORKER_THREADS
from emendo_ops.bench import searches, updates
from emendo_ops.bench.statistics import Summary, percentile
from emendo_ops.bench.store import Store
from emendo_ops.bench.visibility import visible_after
from tests.bench.plan import Plan
from tests.bench.seeds import users
from tests.bench.throughput import warm_store

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
        "updates_per_second": Summary.of(rates).document(),
        "visible_p50_ms": Summary.of(visible).document(),
        "search_p50_ms": Summary.of(found).document(),
    }
