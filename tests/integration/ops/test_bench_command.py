"""`emendo bench`, and the checks that keep a figure from being made of updates that never happened."""

from __future__ import annotations

import json
import os

import pytest

from emendo_config.store.connections import connect
from emendo_ops.bench import updates
from emendo_ops.bench.machine import resident_bytes
from emendo_ops.bench.product import ROWS, fill
from emendo_ops.bench.store import MeasurementError, Store


@pytest.fixture
def store(emendo_client, emendo_worker, openai_server):
    with connect(emendo_worker.redis_url, emendo_worker) as data:
        ids = fill(emendo_client, 30)
        yield Store(emendo_worker, emendo_client, data, ids, lambda: len(openai_server.requests))


def test_a_run_of_singles_counts_calls_and_requests_and_leaves_its_effects(store):
    run = updates.singles(store, store.ids, "the test")
    assert run.updates == len(run.latencies) == len(store.ids)
    assert 0 < run.requests <= len(store.ids)
    assert store.client.get(store.ids[0]).memory == updates.text_of(store.ids[0], "the test")
    assert store.versions(store.ids) == dict.fromkeys(store.ids, 2)


def test_batches_of_text_and_of_metadata_leave_their_effects(store):
    assert updates.batch(store, store.ids, "the test").updates == len(store.ids)
    assert updates.metadata_batch(store, store.ids, "the test").requests == 0
    assert store.client.get(store.ids[0]).metadata["round"] == "the test"


def test_an_update_that_failed_is_no_figure(store):
    store.client.delete(store.ids[7]).wait(raise_on_failure=True)
    with pytest.raises(MeasurementError, match="a job ended failed"):
        updates.singles(store, store.ids, "the test")
    with pytest.raises(MeasurementError, match="the batch ended partially_succeeded"):
        updates.batch(store, store.ids, "the test")


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda store, key: store.data.hset(key, "memory", "another text"), "another text"),
        (lambda store, key: store.data.hset(key, "version", 1), "version 1 with 2 history entries"),
        (lambda store, key: store.data.xtrim(key.replace("memory:", "history:"), 1), "version 2 with 1 history"),
        (lambda store, key: store.data.delete(key.replace("memory:", "history:")), "version 2 with 0 history"),
    ],
)
def test_an_effect_that_is_not_there_is_no_figure(store, damage, problem):
    updates.singles(store, store.ids, "the test")
    expected = {memory_id: (2, updates.text_of(memory_id, "the test")) for memory_id in store.ids}
    store.check(expected)
    damage(store, store.keys.memory(store.ids[3]))
    with pytest.raises(MeasurementError, match=problem):
        store.check(expected)


def test_memories_that_are_not_there_are_not_measured(store):
    with pytest.raises(MeasurementError, match="not there"):
        store.versions([*store.ids, "nobody"])


def test_a_running_stack_is_measured_in_a_project_of_its_own_that_is_erased(cli, emendo_worker, openai_server):
    code, out, err = cli(emendo_worker, "bench", "--running", "--memories", "40", "--rounds", "1", "--json")
    assert code == 0, err
    document = json.loads(out)
    assert [row["name"] for row in document["figures"]] == [row.name for row in ROWS if row.name != "requests"]
    assert all(row["numbers"] for row in document["figures"])
    with connect(emendo_worker.redis_url, emendo_worker) as data:
        found = [data.hmget(key, "project", "erased") for key in data.scan_iter(f"{emendo_worker.key_prefix}memory:*")]
    mine = [erased for project, erased in found if project.startswith(b"bench-")]
    assert len(mine) >= 40
    assert set(mine) == {b"1"}


@pytest.mark.slow  # starts a whole stack
def test_an_embedded_stack_is_started_measured_and_gone(cli):
    code, out, err = cli(None, "bench", "--memories", "40", "--rounds", "1", "--only", "requests", "--only", "singles")
    assert code == 0, err
    assert "provider requests per 1,000 single updates" in out
    assert "metadata" not in out


def test_an_unknown_figure_is_a_wrong_usage(cli):
    code, _, err = cli(None, "bench", "--only", "nonsense")
    assert code == 2
    assert "there are singles, requests" in err


def test_resident_memory_is_that_of_the_process():
    assert 5e6 < resident_bytes(os.getpid()) < 5e9
    with pytest.raises(OSError, match="No such file"):
        resident_bytes(2**22 + 1)
