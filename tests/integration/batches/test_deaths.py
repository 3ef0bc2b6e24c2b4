"""A worker may die at any moment of a chunk; its successor loses nothing and repeats nothing."""

from __future__ import annotations

import pytest

from emendo_config.store import scripts
from emendo_workers.intake.sweeper import Sweeper
from tests.support.deaths import DEATHS, Killed, die_at
from tests.support.intake import account_of, added, drain_all, with_settings


def leases_run_out(services, ids) -> None:
    for raw in services.control.smembers(services.keys.shards):
        services.control.delete(services.keys.wakeup(raw.decode()))
    services.data.delete(*(services.keys.lock(memory_id) for memory_id in ids))
    Sweeper(services).sweep()


@pytest.mark.parametrize("after", DEATHS)
def test_a_drain_that_dies_at_any_step_of_a_batch_loses_nothing_and_repeats_nothing(
    services, client, monkeypatch, after
):
    with_settings(services, client, chunk_items=2, bulk_shards=2)
    deaths = 0
    for step in range(1, 80):
        ids = [added(services, client, f"fact {n}") for n in range(3)]
        job = client.batch_update(
            [
                {"memory_id": ids[0], "text": "new 0"},
                {"memory_id": ids[1], "text": "new 1"},
                {"memory_id": "nobody-knows-it", "text": "new"},
                {"memory_id": ids[2], "metadata": {"n": 2}},
                {"memory_id": ids[0], "text": "newer 0"},
            ]
        )
        with monkeypatch.context() as patch:
            die_at(patch, step, after=after)
            try:
                drain_all(services)
            except Killed:
                deaths += 1
            else:
                break
        leases_run_out(services, [*ids, "nobody-knows-it"])
        drain_all(services)
        result = job.wait(1)
        assert result.status == "partially_succeeded", f"died at step {step}"
        assert [item.event for item in result.results] == ["UPDATE", "UPDATE", None, "UPDATE", "UPDATE"]
        assert [[entry.version for entry in client.history(each)] for each in ids] == [[1, 2, 3], [1, 2], [1, 2]]
        assert [client.get(each).memory for each in ids] == ["newer 0", "new 1", "fact 2"]
        account = {"items": 5, "chunks": 3, "done": 5, "succeeded": 4, "failed": 1, "open": 0, "dead": 0}
        assert account_of(services, job) == account, f"died at step {step}"
        changes = [raw for _, raw in services.control.xrange(services.keys.feed) if raw[b"job_id"] == job.id.encode()]
        assert len(changes) == 4, f"died at step {step}"
    assert deaths >= 15, "three chunks were expected to make at least fifteen round trips"


def test_an_outcome_that_is_recorded_twice_is_counted_once(services, client, monkeypatch):
    with_settings(services, client, chunk_items=1)
    ids = [added(services, client, f"fact {n}") for n in range(2)]
    job = client.batch_update([{"memory_id": each, "text": "new"} for each in ids])
    real = scripts.run

    def run(connection, commands, **more):
        first = real(connection, commands, **more)
        assert len(real(connection, commands, **more)) == len(first)
        return first

    monkeypatch.setattr(scripts, "run", run)
    drain_all(services)
    assert job.wait(1).status == "succeeded"
    account = {"items": 2, "chunks": 2, "done": 2, "succeeded": 2, "failed": 0, "open": 0, "dead": 0}
    assert account_of(services, job) == account
    assert [len(client.history(each)) for each in ids] == [2, 2]
