"""Which space a caller means, and what of a memory makes it one to embed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from emendo_client.errors import ValidationError
from emendo_client.exchanges.reembedding.models import MigrationPhase
from emendo_client.exchanges.reembedding.selection import SCOPE, Selection
from emendo_client.exchanges.reembedding.target_space import checked_space, target_space
from emendo_config import Settings
from emendo_config.embedding_space import EmbeddingSpace
from emendo_config.spaces.registry import SpaceRecord, SpaceState

SETTINGS = Settings(embedding_provider="openai", embedding_model="text-embedding-3-large", embedding_dimensions=256)
ACTIVE = SpaceRecord(EmbeddingSpace("openai", "text-embedding-3-small", 1_536, 3))
HALF = replace(ACTIVE, datatype="float16", copy_of="the_first")


def target(active: SpaceRecord = ACTIVE, **wanted) -> SpaceRecord:
    return target_space(checked_space(**wanted), active, (active,), SETTINGS)


@pytest.mark.parametrize(
    ("wanted", "space"),
    [
        ({}, ("openai", "text-embedding-3-large", 256)),
        ({"dimensions": 256}, ("openai", "text-embedding-3-small", 256)),
        ({"model": "text-embedding-3-large"}, ("openai", "text-embedding-3-large", 3_072)),
        ({"model": "text-embedding-ada-002"}, ("openai", "text-embedding-ada-002", 1_536)),
        ({"model": "another", "dimensions": 7}, ("openai", "another", 7)),
        ({"provider": "local"}, ("local", "use-multilingual-v3", 512)),
        ({"datatype": "float16"}, ("openai", "text-embedding-3-small", 1_536)),
    ],
)
def test_what_is_left_out_stays_as_it_is(wanted, space):
    found = target(**wanted)
    assert (found.space.provider, found.space.model, found.space.dimensions) == space
    assert found.space.generation == ACTIVE.space.generation + 1
    assert found.state is SpaceState.FILLING


def test_vectors_are_copied_where_they_stay_the_same():
    assert target(algorithm="hnsw").copy_of == ACTIVE.name
    assert target(HALF, metric="ip").copy_of == "the_first"
    assert target(dimensions=256).copy_of == ""
    assert target(HALF, datatype="float32").copy_of == "", "what float16 has lost does not come back"


def test_an_index_keeps_what_is_not_asked_for():
    old = replace(ACTIVE, algorithm="hnsw", metric="l2", datatype="float16")
    new = target(old, dimensions=256)
    assert (new.algorithm, new.metric, new.datatype) == ("hnsw", "l2", "float16")


def test_the_space_the_store_is_in_is_no_target():
    with pytest.raises(ValidationError, match=ACTIVE.name):
        target(model=ACTIVE.space.model)


def found(
    filters=None, *, digest=b"h", listed=ACTIVE.name, model=ACTIVE.space.model, size=ACTIVE.vector_bytes, **scope
):
    values = [digest, listed.encode(), model.encode(), *(scope.get(name, "x").encode() for name in SCOPE)]
    selection = Selection(ACTIVE, filters)
    read, *more = selection.reads("key")
    return selection.finds(values[: len(read[2:])], *([size] if more else []))


def test_a_memory_that_does_not_list_the_space_is_found():
    assert found(listed="")
    assert found(listed=f"{ACTIVE.name}0")
    assert not found(listed=f"another,{ACTIVE.name}")
    assert not found(listed="", digest=None), "an erased one has no text to embed"


@pytest.mark.parametrize(
    ("filters", "flawed", "whole"),
    [
        ({"missing": True}, {"size": 0}, {"size": 8}),
        ({"wrong_dimensions": True}, {"size": 8}, {"size": 0}),
        ({"wrong_model": True}, {"model": "another"}, {"size": 0}),
        ({"missing": True, "wrong_model": True}, {"model": "another"}, {"size": 8}),
        ({"user_id": "ana"}, {"user_id": "ana"}, {"user_id": "bea"}),
        ({"user_id": "ana", "missing": True}, {"user_id": "ana", "listed": ""}, {"user_id": "ana"}),
    ],
)
def test_a_repair_finds_what_has_the_flaw_within_the_scope(filters, flawed, whole):
    assert found(filters, **flawed)
    assert not found(filters, **whole)


def test_every_phase_says_whether_it_is_the_last():
    last = {phase for phase in MigrationPhase if phase.is_final}
    assert last == {"dropped", "rolled_back", "cancelled", "repaired", "failed"}
