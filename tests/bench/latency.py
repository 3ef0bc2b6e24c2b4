"""Latencies: of the call that enqueues, until a search shows the change, of a search."""

from __future__ import annotations

import statistics
import time

from emendo_client.testing.openai_server.vectors import embed
from emendo_ops.bench import searches, updates
from emendo_ops.bench.samples import Samples
from emendo_ops.bench.statistics import percentile
from emendo_ops.bench.visibility import visible_after
from tests.bench.celery_noop import NoopWorker
from tests.bench.plan import Plan
from tests.bench.seeds import users
from tests.bench.throughput import warm_store

_CALLS, _IDLE_CALLS = 2_000, 50
_VISIBLE, _VISIBLE_RATE = 500, 50.0
SEARCHED = 100_000
_SEARCHES = 500
_QUERY = "what does the person now say"
_WAIT = 60.0


def enqueue(plan: Plan) -> Samples:
    """client.update against send_task, called one after the other while each one's worker works."""
    samples = Samples()
    count = plan.size(_CALLS)
    wakeups, idle = [], []
    for number in range(plan.rounds):
        with warm_store(plan.bed, count) as store:
            run = updates.one_by_one(store, store.ids, f"round {number}")
            samples.add("emendo", _milliseconds(run.latencies))
            # On an idle system no worker reads the shard, so each call publishes a wake-up message as well.
            for memory_id in store.ids[: plan.size(_IDLE_CALLS)]:
                began = time.perf_counter()
                job = store.client.update(memory_id, updates.text_of(memory_id, f"idle {number}"))
                wakeups.append(time.perf_counter() - began)
                job.wait(_WAIT, raise_on_failure=True)
        plan.bed.wipe()
        with NoopWorker(plan.bed) as worker:
            samples.add("celery", _milliseconds(worker.run(count)[1]))
            idle += [worker.run(1)[1][0] for _ in range(plan.size(_IDLE_CALLS))]
    samples.note(
        f"calls one after the other, as fast as they go; one call to an idle system, which must ring its worker, takes "
        f"{statistics.median(wakeups) * 1_000:.2f} ms (p50), a send_task {statistics.median(idle) * 1_000:.2f} ms"
    )
    return samples


def visible(plan: Plan) -> Samples:
    """From the call until an index look-up finds the new version, at a rate that leaves the system mostly idle."""
    samples = Samples()
    with warm_store(plan.bed, plan.size(_VISIBLE)) as store:
        for number in range(plan.rounds):
            seconds = visible_after(store, store.ids, _VISIBLE_RATE, f"round {number}")
            samples.add("emendo", {"p50": percentile(seconds, 0.5) * 1_000, "p99": percentile(seconds, 0.99) * 1_000})
    return samples


def search(plan: Plan) -> Samples:
    """client.search against its own FT.SEARCH command, for one user after the other."""
    samples = Samples()
    with warm_store(plan.bed, plan.size(SEARCHED)) as store:
        asked = (users(len(store.ids)) * _SEARCHES)[: plan.size(_SEARCHES)]
        vector = embed(_QUERY)
        for _ in range(plan.rounds):
            mine = searches.client_searches(store, _QUERY, asked)
            samples.add("emendo", _milliseconds(mine.latencies))
            samples.add("raw", _milliseconds(searches.raw_searches(store, vector, asked).latencies))
            if mine.requests:
                samples.note(
                    f"the client did not keep the query's embedding: {mine.requests} of {len(asked)} searches "
                    f"paid a provider request of {plan.bed.latency_ms:.0f} ms"
                )
    return samples


def hybrid(plan: Plan) -> Samples:
    """client.search by meaning and words against the same by meaning alone, in a store whose words are indexed."""
    samples = Samples()
    with warm_store(plan.bed, plan.size(SEARCHED), index_text=True) as store:
        asked = (users(len(store.ids)) * _SEARCHES)[: plan.size(_SEARCHES)]
        for _ in range(plan.rounds):
            by_both = searches.client_searches(store, _QUERY, asked, "hybrid")
            by_vector = searches.client_searches(store, _QUERY, asked)
            metrics = _milliseconds(by_vector.latencies)
            samples.add("emendo", {"hybrid_p50": _milliseconds(by_both.latencies)["p50"], **metrics})
    return samples


def _milliseconds(latencies: list[float]) -> dict[str, float]:
    return {"p50": statistics.median(latencies) * 1_000}
