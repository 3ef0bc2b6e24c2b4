"""Re-embedding under fire: searches and writes all the time, and a worker killed every two seconds, eight times."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from emendo_client import Job, MemoryClient
from emendo_client.records.derived_fields import text_hash
from emendo_client.testing.openai_server.vectors import embed
from emendo_config.store.pipeline import as_text
from tests.chaos.storm import Storm
from tests.support.patience import LONG_PATIENCE

USERS = 30
EACH = 100
# Of each user's memories so many are left alone, so that what a search must find is known.
STEADY = 50
DIMENSIONS = 1_536
QUICK = {
    "lease": 2.0,
    "ring_ttl": 1.0,
    "sweep_interval": 0.2,
    "poison_deliveries": 20,
    "max_attempts": 20,
    "chunk_items": 64,
}


def text_of(user: int, number: int) -> str:
    return f"user {user} said thing {number} about topic {(user * 31 + number) % 97}"


@pytest.mark.chaos
@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_a_store_in_use_is_re_embedded_while_its_workers_die(tmp_path):
    seed = random.SystemRandom().randrange(1 << 32)
    print("seed", seed)
    storm = Storm("reembedding", tmp_path, seed, **QUICK)
    with storm.running(3):
        ids = filled(storm.client)
        found: list[str] = []
        jobs: list[Job] = []
        storm.provider.latency_ms = 200  # so that it takes long enough to be disturbed
        acts = [searching(storm, found), writing(storm, ids, jobs, 1), writing(storm, ids, jobs, 2)]
        with ExitStack() as stack:
            for act in acts:
                stack.enter_context(repeated(act))
            with storm.happening(storm.kill_a_worker, pause=(2.0, 2.0), most=8):
                result = storm.client.reembed(dimensions=DIMENSIONS).wait(LONG_PATIENCE, with_results=False)
            assert result.status == "succeeded", result
            went_on = time.monotonic() + 1.0
            while time.monotonic() < went_on:  # searches after the switch
                time.sleep(0.1)
        storm.revive_workers()
        for each in jobs:
            assert each.wait(LONG_PATIENCE).status == "succeeded", each.info()
        assert len(found) > 20
        print(storm.report.faults, "kills,", len(found), "searches,", len(jobs), "writes")
        assert storm.report.faults >= 2, "it was over before much could go wrong"
        state = storm.client.migration()
        assert (state.phase, state.failed) == ("switched", 0)
        assert_complete(storm, jobs, state.target, DIMENSIONS, others={state.source: 64})
        assert storm.client.finalize_reembed().wait(LONG_PATIENCE).status == "succeeded"
        assert_complete(storm, jobs, state.target, DIMENSIONS, others={})


def filled(client: MemoryClient) -> dict[int, list[str]]:
    """Each user's memories."""
    items = [
        {"messages": text_of(user, number), "user_id": f"u{user}"} for user in range(USERS) for number in range(EACH)
    ]
    job = client.batch_add(items, infer=False)
    assert job.wait(LONG_PATIENCE, with_results=False).status == "succeeded"
    ids = [item.memory_id for item in job.results()]
    return {user: ids[user * EACH : (user + 1) * EACH] for user in range(USERS)}


@contextmanager
def repeated(act: Callable[[], None]) -> Iterator[None]:
    """Does it again and again on a thread while the block runs; its first error is the block's."""
    over = threading.Event()
    errors: list[BaseException] = []

    def run() -> None:
        try:
            while not over.is_set():
                act()
        except BaseException as error:  # noqa: BLE001  # raised below
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if errors:
        raise errors[0]


def searching(storm: Storm, found: list[str]) -> Callable[[], None]:
    chance = random.Random(storm.report.seed)

    def search() -> None:
        user, number = chance.randrange(USERS), chance.randrange(STEADY)
        text = text_of(user, number)
        hits = storm.client.search(text, user_id=f"u{user}", limit=5)
        assert len(hits) == 5, f"{len(hits)} hits"
        scores = [hit.score for hit in hits]
        assert scores == sorted(scores, reverse=True)
        # Compared with vectors of another space, its own text would be anywhere.
        assert hits[0].memory == text
        assert hits[0].score > 0.999
        found.append(hits[0].id)

    return search


def writing(storm: Storm, ids: dict[int, list[str]], jobs: list[Job], writer: int) -> Callable[[], None]:
    """Adds, updates and deletes, each memory by one writer only, so that every job succeeds."""
    chance = random.Random(f"{storm.report.seed}:{writer}")
    numbers = itertools.count()
    gone: set[str] = set()

    def write() -> None:
        user, number = chance.randrange(USERS), next(numbers)
        memory_id = ids[user][chance.randrange(STEADY, EACH)]
        mine = int(text_hash(memory_id)[:8], 16) % 2 + 1 == writer
        text = f"writer {writer} wrote {number}"
        word = chance.random()
        if word < 0.3 or not mine or memory_id in gone:
            jobs.append(storm.client.add(text, user_id=f"u{user}", infer=False))
        elif word < 0.9:
            jobs.append(storm.client.update(memory_id, text))
        else:
            gone.add(memory_id)
            jobs.append(storm.client.delete(memory_id))
        time.sleep(0.01)  # two such writers are traffic; a loop without pause would be a load test

    return write


def assert_complete(storm: Storm, jobs: list[Job], target: str, dimensions: int, *, others: dict[str, int]) -> None:
    """Every memory has exactly these spaces' vectors of its text, and a history without the migration's traces."""
    spaces = {target: dimensions, **others}
    writers = {job.id for job in jobs}
    with storm.raw() as data:
        keys = list(data.scan_iter(match=storm.keys.memory_pattern, count=1_000))
        assert len(keys) >= USERS * EACH
        for key in keys:
            fields = data.hgetall(key)
            text = as_text(fields[b"memory"])
            assert as_text(fields[b"embedding_space"]).split(",") == sorted(spaces)
            vectors = {as_text(name): value for name, value in fields.items() if name.startswith(b"vector_")}
            model = as_text(fields[b"embedding_model"])
            assert vectors == {
                f"vector_{name}": embed(text, model=model, dimensions=size) for name, size in spaces.items()
            }
            history = data.xrange(storm.keys.history(as_text(fields[b"id"])))
            assert [as_text(entry) for entry, _ in history] == [f"{n}-0" for n in range(1, int(fields[b"version"]) + 1)]
            assert {as_text(raw[b"job_id"]) for _, raw in history[1:]} <= writers
        told = [raw for _, raw in data.xrange(storm.keys.feed) if raw[b"event"] == b"MIGRATE"]
        assert [as_text(raw[b"space"]) for raw in told] == [target]
