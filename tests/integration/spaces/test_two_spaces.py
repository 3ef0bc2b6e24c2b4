"""Writes while a store has two embedding spaces: a listed vector is always that of the current text."""

from __future__ import annotations

from dataclasses import replace

import pytest

from emendo_client.errors import RateLimitError
from emendo_config.spaces.registry import SpaceState, remove_space, save_space
from emendo_config.store import scripts
from emendo_workers.memories.backfill import Backfilled, backfill
from emendo_workers.providers.space_pipelines import SpacePipelines
from tests.support.intake import added, bring_back, drain, drain_all
from tests.support.spaces import SMALL, assert_right, failing, open_space, own_space, stored_vector

LIVE = replace(SMALL, state=SpaceState.LIVE)


@pytest.mark.parametrize("state", [SpaceState.FILLING, SpaceState.LIVE])
def test_new_memories_and_new_texts_get_both_vectors_for_one_request_a_space(services, client, openai_server, state):
    space = open_space(services, replace(SMALL, state=state))
    jobs = [client.add(f"fact {number}", user_id="ana", infer=False) for number in range(3)]
    openai_server.clear_requests()
    drain_all(services)
    memories = [job.wait(1).results[0].memory_id for job in jobs]
    for memory_id in memories:
        assert_right(services, memory_id, own_space(services), space)

    openai_server.clear_requests()
    drain(services, client.update(memories[0], "another fact"))
    models = sorted(request.body["model"] for request in openai_server.requests)
    assert models == ["text-embedding-3-large", "text-embedding-3-small"]
    assert_right(services, memories[0], own_space(services), space)
    assert services.data.hget(services.keys.memory(memories[0]), "embedding_model") == b"text-embedding-3-large"


def test_a_space_that_is_a_copy_costs_no_request_of_its_own(services, client, openai_server):
    own = own_space(services)
    copy = replace(own, space=replace(own.space, generation=2), datatype="float16", copy_of=own.name)
    open_space(services, copy)
    memory_id = added(services, client)
    assert len(openai_server.requests) == 1
    assert_right(services, memory_id, own, copy)


def test_metadata_pays_for_nothing_where_both_vectors_are(services, client, openai_server):
    space = open_space(services)
    memory_id = added(services, client)
    openai_server.clear_requests()
    drain(services, client.update(memory_id, metadata={"a": 1}))
    drain(services, client.update(memory_id, "I dislike seafood."))
    assert not openai_server.requests
    assert_right(services, memory_id, own_space(services), space)


def test_a_memory_that_lacks_a_space_gets_it_with_its_next_change(services, client):
    memory_id = added(services, client)
    space = open_space(services)
    drain(services, client.update(memory_id, metadata={"a": 1}))
    assert_right(services, memory_id, own_space(services), space)


def test_a_space_that_is_dropped_is_written_no_more_and_loses_what_is_not_right_any_more(services, client):
    space = open_space(services)
    memory_id = added(services, client)
    save_space(services.data, services.keys, replace(space, state=SpaceState.DROPPING))
    drain(services, client.update(memory_id, metadata={"a": 1}))
    assert_right(services, memory_id, own_space(services), space)
    drain(services, client.update(memory_id, "another text"))
    assert_right(services, memory_id, own_space(services))


def test_a_space_that_is_only_being_filled_keeps_no_write_waiting(services, client, monkeypatch):
    space = open_space(services)
    memory_id = added(services, client)
    failing(monkeypatch, services, space, RateLimitError("too fast"))
    job = client.update(memory_id, "a new text")
    drain(services, job)
    assert job.status() == "succeeded"
    assert_right(services, memory_id, own_space(services))


def test_a_live_space_is_waited_for(services, client, monkeypatch):
    space = open_space(services, LIVE)
    memory_id = added(services, client)
    job = client.update(memory_id, "a new text")
    with monkeypatch.context() as patch:
        failing(patch, services, space, RateLimitError("too fast"))
        drain(services, job)
    assert job.status() == "retrying"
    assert client.get(memory_id).version == 1
    bring_back(services, job)
    assert job.status() == "succeeded"
    assert_right(services, memory_id, own_space(services), space)


def test_a_deleted_memory_that_was_filled_while_it_was_away_is_restored_complete(services, client):
    memory_id = added(services, client)
    drain(services, client.delete(memory_id))
    space = open_space(services)
    backfill(services, [memory_id], space)
    drain(services, client.restore(memory_id))
    assert_right(services, memory_id, own_space(services), space)


def test_a_deleted_memory_that_was_not_filled_is_restored_complete(services, client):
    memory_id = added(services, client)
    drain(services, client.delete(memory_id))
    space = open_space(services)
    drain(services, client.restore(memory_id))
    assert_right(services, memory_id, own_space(services), space)


def test_a_memory_that_was_erased_meanwhile_stays_erased(services, client):
    memory_id = added(services, client)
    space = open_space(services)
    real = services.pipeline_of(space).embed

    def erase_meanwhile(texts, meter=None):
        vectors = real(texts)
        drain(services, client.delete(memory_id, hard=True))
        return vectors

    services.pipeline_of(space).embed = erase_meanwhile
    assert backfill(services, [memory_id], space) == {memory_id: Backfilled.GONE}
    fields = services.data.hgetall(services.keys.memory(memory_id))
    assert not [name for name in fields if name.startswith(b"vector_") or name in (b"memory", b"embedding_space")]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", range(1, 12))
def test_a_backfill_at_any_point_of_an_edit(services, client, monkeypatch, step, after):
    """Between any two round trips of a drain that changes the text, another worker backfills the memory."""
    memory_id = added(services, client, "old text")
    job = client.update(memory_id, "new text")
    real, made = scripts.run, {"calls": 0, "filled": False}

    def run(connection, commands, **more):
        made["calls"] += bool(commands)
        here = made["calls"] == step and not made["filled"]
        if here:
            made["filled"] = True
        if here and not after:
            fill()
        replies = real(connection, commands, **more)
        if here and after:
            fill()
        return replies

    def fill():
        with monkeypatch.context() as patch:
            patch.setattr(scripts, "run", real)
            backfill(services, [memory_id], open_space(services))

    with monkeypatch.context() as patch:
        patch.setattr(scripts, "run", run)
        drain(services, job)
    if not made["filled"]:
        fill()
    assert job.status() == "succeeded"
    assert client.get(memory_id).version == 2
    assert_right(services, memory_id, own_space(services), SMALL)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", range(1, 6))
def test_an_edit_at_any_point_of_a_backfill(services, client, monkeypatch, step, after):
    memory_id = added(services, client, "old text")
    space = open_space(services)
    real, made = scripts.run, {"calls": 0, "edited": False}

    def edit():
        made["edited"] = True
        with monkeypatch.context() as patch:
            patch.setattr(scripts, "run", real)
            drain(services, client.update(memory_id, "new text"))

    def run(connection, commands, **more):
        made["calls"] += bool(commands)
        here = made["calls"] == step and not made["edited"]
        if here and not after:
            edit()
        replies = real(connection, commands, **more)
        if here and after:
            edit()
        return replies

    with monkeypatch.context() as patch:
        patch.setattr(scripts, "run", run)
        (outcome,) = backfill(services, [memory_id], space).values()
    assert outcome in (Backfilled.DONE, Backfilled.LISTED)
    if not made["edited"]:
        edit()
    assert client.get(memory_id).memory == "new text"
    assert_right(services, memory_id, own_space(services), space)


def test_a_worker_whose_view_is_old_never_leaves_an_old_texts_vector(services, client, monkeypatch):
    """Its registry names one space only; the memory has two. It removes the vector that it cannot write."""
    space = open_space(services)
    memory_id = added(services, client)
    stale = own_space(services)
    for step in ("opening", "committing"):
        monkeypatch.setattr(f"emendo_workers.memories.steps.{step}.registered_spaces", lambda *_: (stale,))
    drain(services, client.update(memory_id, metadata={"a": 1}))
    assert_right(services, memory_id, stale, space)
    drain(services, client.update(memory_id, "new text"))
    assert_right(services, memory_id, stale)
    monkeypatch.undo()
    assert backfill(services, [memory_id], space) == {memory_id: Backfilled.DONE}
    assert_right(services, memory_id, stale, space)


def test_the_pipeline_of_a_space_that_is_gone_goes_with_it(services, client):
    space = open_space(services)
    added(services, client)
    first = services.pipelines.of(space)
    assert services.pipelines.of(space) is first
    remove_space(services.data, services.keys, space.name)
    memory_id = added(services, client)
    assert stored_vector(services, memory_id, space) is None
    assert services.pipelines.of(space) is not first


def test_erasing_forgets_the_cached_vectors_of_every_space(services, client):
    open_space(services)
    memory_id = added(services, client, "to be forgotten")
    forgotten = []
    for space in (own_space(services), SMALL):
        pipeline = services.pipeline_of(space)
        real = pipeline.forget
        pipeline.forget = lambda texts, name=space.name, real=real: (forgotten.append((name, *texts)), real(texts))
    drain(services, client.delete(memory_id, hard=True))
    assert set(forgotten) == {(own_space(services).name, "to be forgotten"), (SMALL.name, "to be forgotten")}


@pytest.fixture
def caching(services):
    """Vectors of the second space are cached in Redis."""
    settings = services.settings.model_copy(update={"embedding_cache_ttl": 60})
    services.pipelines = SpacePipelines(replace(services.store, settings=settings))


def cached(services) -> list[bytes]:
    return list(services.data.scan_iter(match=services.keys.embedding(SMALL.name, "*")))


@pytest.mark.usefixtures("caching")
def test_a_text_that_is_erased_after_a_backfill_embedded_it_is_not_left_in_the_cache(services, client, monkeypatch):
    memory_id = added(services, client)
    space = open_space(services)
    pipeline = services.pipeline_of(space)
    real = pipeline.embed

    def erase_meanwhile(texts, meter=None):
        # The erasing worker has looked for cached vectors before this one is there.
        drain(services, client.delete(memory_id, hard=True))
        vectors = real(texts)
        assert cached(services)
        return vectors

    monkeypatch.setattr(pipeline, "embed", erase_meanwhile)
    assert backfill(services, [memory_id], space) == {memory_id: Backfilled.GONE}
    assert not cached(services)


@pytest.mark.usefixtures("caching")
def test_nor_one_that_is_backfilled_while_it_is_erased(services, client, monkeypatch):
    memory_id = added(services, client)
    space = open_space(services)
    job = client.delete(memory_id, hard=True)
    real, fills = scripts.run, []

    def run(connection, commands, **more):
        if not fills and any(scripts.commit.runs_in(command) for command in commands):
            fills.append(memory_id)
            backfill(services, [memory_id], space)
            assert cached(services)
        return real(connection, commands, **more)

    with monkeypatch.context() as patch:
        patch.setattr(scripts, "run", run)
        drain(services, job)
    assert fills
    assert job.status() == "succeeded"
    assert not cached(services)
    fields = services.data.hgetall(services.keys.memory(memory_id))
    assert not [name for name in fields if name.startswith(b"vector_") or name in (b"memory", b"embedding_space")]
