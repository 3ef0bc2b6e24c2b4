"""A worker may die anywhere in a re-embedding; the next one goes on, and nothing is lost, doubled or left behind."""

from __future__ import annotations

import itertools
import random

import pytest

from emendo_client.errors import JobTimeoutError
from emendo_workers.providers.space_pipelines import SpacePipelines
from tests.model.effort import DEEP
from tests.support.deaths import Killed, die_at
from tests.support.intake import added, drain, with_settings
from tests.support.migrating import (
    active_space,
    another_worker,
    assert_only,
    migrations_told,
    reembedded,
    until_phase,
    worked,
)
from tests.support.spaces import assert_right

# Of the round trips of a slow test one in so many is tried.
STRIDE = 1 if DEEP else 4
TEXTS = ("I dislike seafood.", "I enjoy hiking.", "The meeting is on Monday.")


def histories(client, ids):
    return [client.history(memory_id) for memory_id in ids]


def deaths_of(services, monkeypatch, job_of, stride=1):
    """Works a job that dies before an early round trip, a new one before a later one, and so on until one does not.

    Yields how often one died, and the job as another worker has brought it to its end.

    Args:
        stride: one of so many round trips is tried, and others in another run.
    """
    first = random.SystemRandom().randint(1, stride)
    for deaths, step in enumerate(range(first, 400, stride), 1):
        print("dies at step", step)
        job = job_of()
        with monkeypatch.context() as patch:
            die_at(patch, step)
            try:
                worked(services, job)
            except Killed:
                pass
            else:
                return
        another_worker(services)
        yield deaths, worked(services, job)
    raise AssertionError("it dies for ever")


def three_memories(services, client):
    """Three memories, the last of them deleted, and their histories."""
    ids = [added(services, client, text) for text in TEXTS]
    drain(services, client.delete(ids[2]))
    return ids, histories(client, ids)


@pytest.mark.slow  # a worker dies at each of its steps
def test_a_reembedding_goes_on_wherever_it_died(services, client, openai_server, monkeypatch):
    with_settings(services, client, chunk_items=2, embedding_cache_ttl=60)
    services.background_pipelines = SpacePipelines(services.store)
    ids, before = three_memories(services, client)
    space = active_space(services)
    sizes = itertools.count(8)
    deaths = 0

    def begin():
        openai_server.clear_requests()
        return client.reembed(dimensions=next(sizes))

    for deaths, info in deaths_of(services, monkeypatch, begin, STRIDE):
        # A probe, and one request for each of the two chunks; what was asked for when it died is asked for once more.
        assert len(openai_server.requests) <= 4, f"death {deaths}"
        assert info.status == "succeeded", f"death {deaths}: {info}"
        old, space = space, active_space(services)
        assert space.name != old.name
        for memory_id in ids:
            assert_right(services, memory_id, old, space)
        assert len(migrations_told(services)) == deaths, f"death {deaths}"
        assert migrations_told(services)[-1] == space.name
        assert worked(services, client.finalize_reembed()).status == "succeeded"
        assert_only(services, ids, space)
    assert deaths >= 60 // STRIDE
    assert histories(client, ids) == before


@pytest.mark.slow
def test_the_old_space_goes_wherever_its_removal_died(services, client, monkeypatch):
    ids, before = three_memories(services, client)
    sizes = itertools.cycle((32, 64))
    deaths = 0

    def finalizing():
        reembedded(services, client, dimensions=next(sizes))
        return client.finalize_reembed()

    for deaths, info in deaths_of(services, monkeypatch, finalizing, STRIDE):
        assert info.status == "succeeded", f"death {deaths}: {info}"
        assert client.migration().phase == "dropped"
        assert_only(services, ids, active_space(services))
    assert deaths >= 25 // STRIDE
    assert histories(client, ids) == before


@pytest.mark.slow
def test_the_way_back_is_found_wherever_it_was_left(services, client, monkeypatch):
    ids, before = three_memories(services, client)
    first = active_space(services)
    deaths = 0

    def going_back():
        reembedded(services, client, dimensions=32)
        return client.rollback_reembed()

    for deaths, info in deaths_of(services, monkeypatch, going_back, STRIDE):
        assert info.status == "succeeded", f"death {deaths}: {info}"
        assert client.migration().phase == "rolled_back"
        assert_only(services, ids, first)
        assert len(migrations_told(services)) == 2 * deaths
    assert deaths >= 20 // STRIDE
    assert histories(client, ids) == before


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_is_left_of_a_cancelled_one_wherever_that_died(services, client, monkeypatch):
    ids, before = three_memories(services, client)
    first = active_space(services)
    phases = itertools.cycle(("backfill", "catching_up", "verifying"))
    deaths = 0

    def cancelling():
        job, phase = client.reembed(dimensions=32), next(phases)
        until_phase(services, client, phase)
        with pytest.raises(JobTimeoutError):
            job.cancel(timeout=0.0)
        return job

    for deaths, info in deaths_of(services, monkeypatch, cancelling):
        assert info.status == "cancelled", f"death {deaths}: {info}"
        assert client.migration().phase == "cancelled"
        assert_only(services, ids, first)
    assert deaths >= 15
    assert migrations_told(services) == []
    assert histories(client, ids) == before
