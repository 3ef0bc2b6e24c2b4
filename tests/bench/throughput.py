"""Updates a second: one by one, in batches, of metadata alone; each contender on an empty Redis, turn by turn."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import contextmanager

from emendo_config.queues import BULK, INTERACTIVE
from emendo_config.shards import shards_of
from emendo_config.worker_process import WORKER_THREADS
from emendo_ops.bench import updates
from emendo_ops.bench.samples import Samples
from emendo_ops.bench.store import Store
from emendo_ops.bench.testbed import TestBed
from tests.bench import baselines
from tests.bench.celery_noop import NoopWorker
from tests.bench.plan import Plan
from tests.bench.seeds import seed

SINGLES, BATCH, PEER = 10_000, 20_000, 500
_NOOPS = 2_000
_WARM_UP = 64


@contextmanager
def warm_store(bed: TestBed, count: int, **more) -> Iterator[Store]:
    """A store with so many memories whose worker has worked before; Redis is done with what the filling left to do."""
    bed.wipe()
    with bed.store(**more) as store:
        seed(store, count + _WARM_UP)
        updates.singles(store, store.ids[count:], "the warm-up")
        del store.ids[count:]
        bed.settle()
        yield store


def singles(plan: Plan) -> Samples:
    """Single updates against Celery's no-op tasks, the bare script and mem0."""
    samples = Samples()
    count = plan.size(SINGLES)
    in_turn = []
    for number in range(plan.rounds):
        with warm_store(plan.bed, count) as store:
            run = updates.singles(store, store.ids, f"round {number}")
            in_turn.append(updates.one_by_one(store, store.ids, f"round {number}, one by one").rate)
            asked = in_flight(plan, store, INTERACTIVE)
        assert run.requests is not None
        samples.add("emendo", {"rate": run.rate, "requests": run.requests * 1_000 / run.updates})
        if plan.wants("celery"):
            plan.bed.wipe()
            with NoopWorker(plan.bed) as worker:
                tasks = plan.size(_NOOPS)
                samples.add("celery", {"rate": tasks / worker.run(tasks)[0]})
        _others(plan, samples, count, asked)
    samples.note(
        f"{updates.IN_FLIGHT} calls in flight (AsyncMemoryClient); "
        f"each called when the one before has returned (MemoryClient): {statistics.median(in_turn):,.0f}/s"
    )
    return samples


def batch(plan: Plan) -> Samples:
    """One batch_update against the bare script and mem0."""
    samples = Samples()
    count = plan.size(BATCH)
    for number in range(plan.rounds):
        with warm_store(plan.bed, count) as store:
            samples.add("emendo", {"rate": updates.batch(store, store.ids, f"round {number}").rate})
            asked = in_flight(plan, store, BULK)
        _others(plan, samples, count, asked)
    return samples


def metadata(plan: Plan) -> Samples:
    """A batch that changes metadata only against one that gives new texts, on the same store."""
    samples = Samples()
    with warm_store(plan.bed, plan.size(BATCH)) as store:
        for number in range(plan.rounds):
            samples.add("emendo", {"metadata_rate": updates.metadata_batch(store, store.ids, f"round {number}").rate})
            samples.add("emendo", {"text_rate": updates.batch(store, store.ids, f"round {number}").rate})
    return samples


def _others(plan: Plan, samples: Samples, count: int, asked: int) -> None:
    if plan.wants("bare"):
        samples.note(f"the bare script had {asked} requests in flight", "bare")
        samples.add("bare", {"rate": baselines.bare(plan, count, asked)})
    if plan.wants("mem0"):
        samples.add("mem0", {"rate": baselines.mem0(plan, plan.size(PEER))})


def in_flight(plan: Plan, store: Store, queue: str) -> int:
    """How many provider requests the product can have at once, one for each drain; the bare script gets as many."""
    return plan.in_flight or min(WORKER_THREADS, shards_of(queue, store.settings))
