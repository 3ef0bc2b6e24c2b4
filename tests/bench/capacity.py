"""Growth: throughput over a large store, bytes for each memory, a worker's resident memory."""

from __future__ import annotations

from contextlib import ExitStack

from emendo_config.store.pipeline import as_text
from emendo_ops.bench import updates
from emendo_ops.bench.machine import resident_bytes
from emendo_ops.bench.samples import Samples
from emendo_ops.bench.store import Store, ask
from emendo_ops.bench.testbed import TestBed
from tests.bench.plan import Plan
from tests.bench.seeds import seed
from tests.bench.throughput import warm_store

SMALL, LARGE = 2_000, 200_000
_WEIGHED = 2_048  # memories; two whole blocks of the FLAT index
_PASS, _PASSES = 10_000, 10
_FLOAT = 4


def size(plan: Plan) -> Samples:
    """The same single updates on a small and on a large store, each with a Redis and a worker of its own."""
    samples = Samples()
    count = plan.size(SMALL)
    with ExitStack() as running:
        stores: dict[str, Store] = {}
        for name, memories in (("small", count), ("large", max(2 * count, plan.size(LARGE)))):
            bed = running.enter_context(TestBed(plan.bed.directory / name))
            stores[name] = running.enter_context(warm_store(bed, memories))
        for number in range(plan.rounds):
            for name, store in stores.items():
                # As many on both: spread over the large store, all of the small one, each memory once.
                ids = store.ids[:: len(store.ids) // count][:count]
                samples.add("emendo", {f"{name}_rate": updates.singles(store, ids, f"round {number}").rate})
    return samples


def weight(plan: Plan) -> Samples:
    """Redis' own account: hash and history of each memory, and the index without the vectors.

    One text and one vector are subtracted. The history's copy of the text counts; the index' copy of the vectors is
    reported apart. Applied keys and job records do not count, since they belong to jobs and expire.
    """
    samples = Samples()
    plan.bed.wipe()
    with plan.bed.store() as store:
        ids = seed(store, plan.size(_WEIGHED))
        keys, dimensions = store.keys, store.settings.space.dimensions
        hashes = list(ask(store.data, (("MEMORY", "USAGE", keys.memory(each), "SAMPLES", 0) for each in ids)))
        histories = list(ask(store.data, (("MEMORY", "USAGE", keys.history(each), "SAMPLES", 0) for each in ids)))
        texts = list(ask(store.data, (("HSTRLEN", keys.memory(each), "memory") for each in ids)))
        index = _index_bytes(store) / len(ids)
    vector = _FLOAT * dimensions
    beyond = index - vector
    whole = [
        hashed + history - text - vector + beyond
        for hashed, history, text in zip(hashes, histories, texts, strict=True)
    ]
    for _ in range(plan.rounds):  # an account, not a sample: it is the same each time
        samples.add("emendo", {"bytes": sum(whole) / len(whole)})
    mean = [sum(each) / len(ids) for each in (hashes, histories, texts)]
    samples.note(
        f"hash {mean[0] - mean[2] - vector:.0f} beside {mean[2]:.0f} of text and {vector} of vector, history "
        f"{mean[1]:.0f}, index {beyond:.0f} beside its own copy of the vector; least {min(whole):.0f}, "
        f"greatest {max(whole):.0f} of {len(ids)} memories; from MEMORY USAGE and FT.INFO, so it is the same every time"
    )
    return samples


def _index_bytes(store: Store) -> float:
    """All that FT.INFO accounts for, the vectors included (its own total leaves them out)."""
    reply = store.data.execute_command("FT.INFO", store.keys.index_alias)
    info = {as_text(name): value for name, value in zip(reply[::2], reply[1::2], strict=True)}
    assert int(info["num_docs"]) == len(store.ids)
    assert int(info["hash_indexing_failures"]) == 0
    sizes = [name for name in info if name.endswith(("_sz_mb", "_size_mb")) and not name.startswith("total_")]
    return sum(float(info[name]) for name in sizes) * 1024 * 1024


def resident(plan: Plan) -> Samples:
    """A new worker's resident memory after ten thousand updates, and after ten times as many."""
    samples = Samples()
    count = plan.size(_PASS)
    for _ in range(plan.rounds):
        with warm_store(plan.bed, count) as store:
            for number in range(_PASSES):
                updates.singles(store, store.ids, f"pass {number}")
                if number == 0:
                    before = resident_bytes(store.worker_pid)
            after = resident_bytes(store.worker_pid)
        samples.add("emendo", {"before_mb": before / 1e6, "after_mb": after / 1e6})
    return samples
