"""The backfill of one space: what is written, what is left alone, and what it costs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from emendo_client.errors import ConfigurationError, EmbeddingError
from emendo_client.records.derived_fields import text_hash
from emendo_client.testing import Fault
from emendo_config.embedding_space import EmbeddingSpace
from emendo_config.spaces.registry import SpaceState
from emendo_config.store import scripts
from emendo_workers.memories.backfill import Backfilled, backfill
from emendo_workers.providers.space_pipelines import SpacePipelines
from tests.support.deaths import Killed
from tests.support.intake import added, drain
from tests.support.spaces import SMALL, assert_right, listed, open_space, own_space, right_vector, stored_vector


def hash_of(services, memory_id):
    return services.data.hgetall(services.keys.memory(memory_id))


def test_a_memory_gets_the_vector_and_is_otherwise_left_alone(services, client):
    memory_id = added(services, client)
    before, history = hash_of(services, memory_id), client.history(memory_id)
    space = open_space(services)

    assert backfill(services, [memory_id], space) == {memory_id: Backfilled.DONE}

    assert_right(services, memory_id, own_space(services), space)
    after = hash_of(services, memory_id)
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {b"embedding_space", b"embedding_model", space.field.encode()}
    assert after[b"embedding_model"] == b"text-embedding-3-large"
    assert client.history(memory_id) == history


def test_a_repeated_call_only_reads(services, client, openai_server):
    ids = [added(services, client, f"text {number}") for number in range(3)]
    space = open_space(services)
    backfill(services, ids, space)
    openai_server.clear_requests()
    assert backfill(services, ids, space) == dict.fromkeys(ids, Backfilled.LISTED)
    assert not openai_server.requests


def test_one_request_for_all(services, client, openai_server):
    ids = [added(services, client, f"text {number}") for number in range(5)]
    space = open_space(services)
    openai_server.clear_requests()
    backfill(services, ids * 2, space)
    assert len(openai_server.requests) == 1


def test_what_is_listed_is_written_again_when_asked(services, client):
    memory_id = added(services, client)
    space = own_space(services)
    services.data.hset(services.keys.memory(memory_id), space.field, b"\0" * 12)
    assert backfill(services, [memory_id], space, overwrite=True) == {memory_id: Backfilled.DONE}
    assert_right(services, memory_id, space)


def test_deleted_memories_get_theirs_and_erased_or_unknown_ones_do_not(services, client):
    deleted, erased = added(services, client), added(services, client)
    drain(services, client.delete(deleted))
    drain(services, client.delete(erased, hard=True))
    tombstone = hash_of(services, erased)
    space = open_space(services)
    outcomes = backfill(services, [deleted, erased, "never"], space)
    assert outcomes == {deleted: Backfilled.DONE, erased: Backfilled.GONE, "never": Backfilled.GONE}
    assert_right(services, deleted, own_space(services), space)
    assert hash_of(services, erased) == tombstone
    assert not services.data.exists(services.keys.memory("never"))


def test_a_text_that_is_refused_fails_alone(services, client, openai_server):
    good, bad = added(services, client, "good"), added(services, client, "bad")
    space = open_space(services)
    openai_server.faults.add(Fault("bad_request", rate=1.0, match="bad"))
    outcomes = backfill(services, [good, bad], space)
    assert outcomes[good] is Backfilled.DONE
    assert isinstance(outcomes[bad], EmbeddingError)
    assert listed(services, bad) == [own_space(services).name]


def test_a_copy_in_another_form_is_converted_and_not_paid_for(services, client, openai_server):
    memory_id = added(services, client)
    own = own_space(services)
    half = replace(
        own,
        space=replace(own.space, generation=2),
        datatype="float16",
        algorithm="hnsw",
        state=SpaceState.FILLING,
        copy_of=own.name,
    )
    open_space(services, half)
    openai_server.clear_requests()
    assert backfill(services, [memory_id], half) == {memory_id: Backfilled.DONE}
    assert not openai_server.requests
    assert len(stored_vector(services, memory_id, half)) == half.vector_bytes == 2 * own.space.dimensions
    assert_right(services, memory_id, own, half)


def test_another_generation_of_the_same_model_is_embedded_again(services, client, openai_server):
    memory_id = added(services, client)
    own = own_space(services)
    again = replace(own, space=replace(own.space, generation=2), state=SpaceState.FILLING)
    open_space(services, again)
    openai_server.clear_requests()
    assert backfill(services, [memory_id], again) == {memory_id: Backfilled.DONE}
    assert len(openai_server.requests) == 1


def test_a_chunk_whose_worker_died_before_it_wrote_is_not_paid_for_twice(services, client, openai_server, monkeypatch):
    cached = services.settings.model_copy(update={"embedding_cache_ttl": 60})
    services.pipelines = SpacePipelines(replace(services.store, settings=cached))
    memory_id = added(services, client)
    space = open_space(services)
    openai_server.clear_requests()
    real = scripts.run

    def die(connection, commands, **more):
        if commands and scripts.backfill.runs_in(commands[0]):
            raise Killed
        return real(connection, commands, **more)

    with monkeypatch.context() as patch:
        patch.setattr(scripts, "run", die)
        with pytest.raises(Killed):
            backfill(services, [memory_id], space)
    assert len(openai_server.requests) == 1
    services.pipelines.close()  # the next worker has nothing in its process
    assert backfill(services, [memory_id], space) == {memory_id: Backfilled.DONE}
    assert len(openai_server.requests) == 1


def test_a_new_text_is_never_given_the_old_ones_vector(services, client):
    memory_id = added(services, client, "old")
    space = open_space(services)
    command = scripts.backfill(
        memory=services.keys.memory(memory_id),
        text_hash=text_hash("older"),
        space=space.name,
        field=space.field,
        vector=right_vector(space, "older"),
        model=space.space.model,
    )
    assert scripts.run(services.data, [command]) == [b"changed"]
    assert_right(services, memory_id, own_space(services))


def test_a_provider_nobody_knows_is_said_to_be_that(services):
    unknown = replace(SMALL, space=EmbeddingSpace("nobody", "m", 8, 2))
    with pytest.raises(ConfigurationError, match="nobody"):
        services.pipeline_of(unknown)
