"""The product's own figures, without baselines, on an embedded or a running stack."""

from __future__ import annotations

import secrets
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from emendo_client._sync.client import MemoryClient
from emendo_config import Settings
from emendo_config.store.connections import connect
from emendo_ops.bench import searches, updates
from emendo_ops.bench.figure import Figure, Part, Row, Source, figure
from emendo_ops.bench.samples import Samples
from emendo_ops.bench.statistics import percentile
from emendo_ops.bench.store import Store
from emendo_ops.bench.visibility import visible_after

_WAIT = 600.0
_PER_USER = 20
_WARM_UP = 64
_VISIBLE_RATE = 50.0  # updates a second
_VISIBLE_MOST = 500
_QUERY = "what does the person now say about the fact"


def _own(metric: str) -> Source:
    return Source("emendo", metric)


ROWS = (
    Row(
        "singles",
        f"single client.update jobs, {updates.IN_FLIGHT} calls in flight, end to end",
        "",
        "singles",
        (Part(_own("rate"), unit="/s", digits=0),),
    ),
    Row(
        "requests",
        "provider requests per 1,000 single updates",
        "",
        "singles",
        (Part(_own("requests"), unit="", digits=0),),
    ),
    Row(
        "enqueue",
        "latency of client.update, called as fast as it goes",
        "",
        "enqueue",
        (Part(_own("enqueue_p50"), label="p50", unit="ms"), Part(_own("enqueue_p99"), label="p99", unit="ms")),
    ),
    Row("batch", "batch_update, end to end", "", "batch", (Part(_own("batch_rate"), unit="/s", digits=0),)),
    Row(
        "metadata",
        "metadata-only batch_update",
        "updates with new text",
        "batch",
        (Part(_own("metadata_rate"), _own("batch_rate"), source_unit="/s"),),
    ),
    Row(
        "visible",
        f"enqueue → visible in search at {_VISIBLE_RATE:.0f} updates/s",
        "",
        "visible",
        (Part(_own("visible_p50"), label="p50", unit="ms"), Part(_own("visible_p99"), label="p99", unit="ms")),
    ),
    Row(
        "search",
        "scoped search",
        "",
        "search",
        (Part(_own("search_p50"), label="p50", unit="ms"), Part(_own("search_p99"), label="p99", unit="ms")),
    ),
)


def measure(
    store: Store,
    rounds: int,
    rows: Iterable[Row] = ROWS,
    on_progress: Callable[[int, int], None] = lambda done, total: None,  # noqa: ARG005  # nobody looks
) -> list[Figure]:
    """The rows' figures. Each round updates the store's memories several times.

    Args:
        on_progress: called with how many of how many measurements are done.

    Raises:
        MeasurementError: an update did not have its effect.
    """
    rows = list(rows)
    samples = Samples()
    updates.singles(store, store.ids[:_WARM_UP], "the warm-up")
    experiments = dict.fromkeys(row.experiment for row in rows)
    plan = [(number, experiment) for number in range(rounds) for experiment in experiments]
    for done, (number, experiment) in enumerate(plan):
        on_progress(done, len(plan))
        samples.add("emendo", _EXPERIMENTS[experiment](store, f"round {number} of {experiment}"))
    return [figure(row, samples, _notes(row, store)) for row in rows]


def _notes(row: Row, store: Store) -> list[str]:
    if row.experiment != "visible":
        return []
    if store.latency_ms:
        return [f"the provider's {store.latency_ms:.0f} ms are subtracted"]
    return ["the provider's time is part of it: it is not known here"]


def _singles(store: Store, tag: str) -> dict[str, float]:
    run = updates.singles(store, store.ids, tag)
    metrics = {"rate": run.rate}
    return metrics if run.requests is None else {**metrics, "requests": run.requests * 1_000 / run.updates}


def _enqueue(store: Store, tag: str) -> dict[str, float]:
    return _milliseconds("enqueue", updates.one_by_one(store, store.ids, tag).latencies)


def _batch(store: Store, tag: str) -> dict[str, float]:
    return {
        "batch_rate": updates.batch(store, store.ids, tag).rate,
        "metadata_rate": updates.metadata_batch(store, store.ids, tag).rate,
    }


def _visible(store: Store, tag: str) -> dict[str, float]:
    seconds = visible_after(store, store.ids[:_VISIBLE_MOST], _VISIBLE_RATE, tag)
    return {"visible_p50": percentile(seconds, 0.5) * 1_000, "visible_p99": percentile(seconds, 0.99) * 1_000}


def _search(store: Store, tag: str) -> dict[str, float]:
    found = searches.client_searches(store, f"{_QUERY} in {tag}", _users(len(store.ids)))
    return _milliseconds("search", found.latencies)


def _milliseconds(name: str, latencies: list[float]) -> dict[str, float]:
    return {
        f"{name}_p50": statistics.median(latencies) * 1_000,
        f"{name}_p99": percentile(latencies, 0.99) * 1_000,
    }


_EXPERIMENTS: dict[str, Callable[[Store, str], dict[str, float]]] = {
    "singles": _singles,
    "enqueue": _enqueue,
    "batch": _batch,
    "visible": _visible,
    "search": _search,
}


def fill(client: MemoryClient, count: int) -> list[str]:
    """Adds memories through the client, several for each user, and returns their ids."""
    users = _users(count)
    items = (
        {"messages": f"fact {number} as it was", "user_id": users[number // _PER_USER], "metadata": {"source": "bench"}}
        for number in range(count)
    )
    job = client.batch_add(items, infer=False)
    return [item.memory_id for item in job.wait(_WAIT, raise_on_failure=True).results]


def _users(count: int) -> Sequence[str]:
    return [f"user-{number}" for number in range(-(-count // _PER_USER))]


@contextmanager
def running_store(settings: Settings, count: int) -> Iterator[Store]:
    """A new project on the stack that the settings name, erased afterwards.

    A tombstone stays for each memory: a history without content.
    """
    with (
        MemoryClient(settings, project=f"bench-{secrets.token_hex(4)}") as client,
        connect(settings.redis_url, settings) as data,
    ):
        ids = fill(client, count)
        try:
            yield Store(settings, client, data, ids)
        finally:
            client.batch_delete([{"memory_id": each} for each in ids], hard=True).wait(_WAIT, with_results=False)
