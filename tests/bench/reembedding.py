"""Re-embedding: how fast a store's memories get the vectors of another space."""

from __future__ import annotations

import time

from emendo_config.embedding_space import VECTOR_PREFIX
from emendo_config.queues import MAINTENANCE
from emendo_ops.bench.samples import Samples
from emendo_ops.bench.store import MeasurementError, Store, ask
from tests.bench import baselines
from tests.bench.plan import Plan
from tests.bench.throughput import BATCH, in_flight, warm_store

_FROM, _TO = 256, 1_536
_FLOAT = 4  # bytes
_LOOK = 0.025
_TIMEOUT = 600.0


def reembed(plan: Plan) -> Samples:
    """A store's backfill, from the call to the last vector, against the bare script's updates of as many memories."""
    samples = Samples()
    count = plan.size(BATCH)
    for _ in range(plan.rounds):
        with warm_store(plan.bed, count, embedding_dimensions=_FROM) as store:
            samples.add("emendo", {"rate": len(store.ids) / _backfilled(store)})
            asked = in_flight(plan, store, MAINTENANCE)
        if plan.wants("bare"):
            samples.note(f"the bare script had {asked} requests in flight", "bare")
            samples.add("bare", {"rate": baselines.bare(plan, count, asked)})
    return samples


def _backfilled(store: Store) -> float:
    """Seconds until every memory has the new space's vector; the switch is waited for, and not counted.

    Raises:
        MeasurementError: it failed, or a memory has no such vector.
    """
    began = time.perf_counter()
    job = store.client.reembed(dimensions=_TO)
    while (migration := store.client.migration()) is None or migration.done < migration.total or not migration.total:
        if time.perf_counter() - began > _TIMEOUT:
            raise MeasurementError(f"the re-embedding has not ended after {_TIMEOUT:.0f} s")
        time.sleep(_LOOK)
    seconds = time.perf_counter() - began
    status = job.wait(_TIMEOUT).status
    if status != "succeeded":
        raise MeasurementError(f"the re-embedding ended {status}")
    field = f"{VECTOR_PREFIX}{migration.target}"
    sizes = ask(store.data, (("HSTRLEN", store.keys.memory(each), field) for each in store.ids))
    lacking = sum(size != _FLOAT * _TO for size in sizes)
    if lacking:
        raise MeasurementError(f"{lacking} memories have not the new vector")
    return seconds
