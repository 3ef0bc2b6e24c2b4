"""Latencies: of the call that enqueues, until a search shows the change, of a search."""

from __future__ import annotations

import statistics
import time

from celery_noop import NoopWorker
from plan import Plan
from seeds import users
from throughput import warm_store

from emendo_client.bench import searches, updates
from emendo_client.bench.readings import Gathered
from emendo_client.bench.spread import percentile
from emendo_client.bench.visibility import visible_after
from emendo_client.testing.vectors import embed

_CALLS, _IDLE_CALLS = 2_000, 50
_VISIBLE, _VISIBLE_RATE = 500, 50.0
SEARCHED = 100_000
_SEARCHES = 500
_QUERY = "what does the person now say"
_WAIT = 60.0


def enqueue(plan: Plan) -> Gathered:
    """client.update against send_task, called one after the other while each one's worker works."""
    gathered = Gathered()
    count = plan.size(_CALLS)
    rings, idle = [], []
    for number in range(plan.rounds):
        with warm_store(plan.bed, count) as store:
            run = updates.one_by_one(store, store.ids, f"round {number}")
            gathered.add("emendo", _milliseconds(run.latencies))
            # With nothing else to do, each call finds the shard's bell silent and publishes a message as well.
            for memory_id in store.ids[: plan.size(_IDLE_CALLS)]:
                began = time.perf_counter()
                job = store.client.update(memory_id, updates.text_of(memory_id, f"idle {number}"))
                rings.append(time.perf_counter() - began)
                job.wait(_WAIT, raise_on_failure=True)
        plan.bed.wipe()
        with NoopWorker(plan.bed) as worker:
            gathered.add("celery", _milliseconds(worker.run(count)[1]))
            idle += [worker.run(1)[1][0] for _ in range(plan.size(_IDLE_CALLS))]
    gathered.note(
        f"calls one after the other, as fast as they go; one call to an idle system, which must ring its worker, takes "
        f"{statistics.median(rings) * 1_000:.2f} ms (p50), a send_task {statistics.median(idle) * 1_000:.2f} ms"
    )
    return gathered


def visible(plan: Plan) -> Gathered:
    """From the call until an index look-up finds the new version, at a rate that leaves the system mostly idle."""
    gathered = Gathered()
    with warm_store(plan.bed, plan.size(_VISIBLE)) as store:
        for number in range(plan.rounds):
            seconds = visible_after(store, store.ids, _VISIBLE_RATE, f"round {number}")
            gathered.add("emendo", {"p50": percentile(seconds, 0.5) * 1_000, "p99": percentile(seconds, 0.99) * 1_000})
    return gathered


def search(plan: Plan) -> Gathered:
    """client.search against its own FT.SEARCH command, for one user after the other."""
    gathered = Gathered()
    with warm_store(plan.bed, plan.size(SEARCHED)) as store:
        asked = (users(len(store.ids)) * _SEARCHES)[: plan.size(_SEARCHES)]
        vector = embed(_QUERY)
        for _ in range(plan.rounds):
            mine = searches.client_searches(store, _QUERY, asked)
            gathered.add("emendo", _milliseconds(mine.latencies))
            gathered.add("raw", _milliseconds(searches.raw_searches(store, vector, asked).latencies))
            if mine.requests:
                gathered.note(
                    f"the client did not keep the query's embedding: {mine.requests} of {len(asked)} searches "
                    f"paid a provider request of {plan.bed.latency_ms:.0f} ms"
                )
    return gathered


def _milliseconds(latencies: list[float]) -> dict[str, float]:
    return {"p50": statistics.median(latencies) * 1_000}
