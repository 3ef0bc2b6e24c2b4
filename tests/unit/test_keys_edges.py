"""Corners of the key names: no two things share a name, and all of one memory shares a slot."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from redis.crc import key_slot

from emendo_config import Settings
from emendo_config.keys import Keys
from emendo_config.queues import QUEUES
from emendo_config.shards import queue_of, shard_name, shard_of, shards_of
from emendo_config.spaces import EmbeddingSpace

KEYS = Keys()
ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", fullmatch=True)
prefixes = st.from_regex(r"[a-z0-9_.-]{0,12}:?", fullmatch=True)
# What validation.scope_id lets through for projects and idempotency keys, as far as key names go.
names = st.text(st.sampled_from("ab:{}*"), min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("emendo:jobs:p", KEYS.jobs("p")),
        ("emendo:done:j", KEYS.job_channel("j")),
        ("emendo:idempotency:1:p:k", KEYS.idempotency("p", "k")),
        ("emendo:embedding:s:d", KEYS.embedding("s", "d")),
        ("emendo:index:s", KEYS.index("s")),
        ("emendo:cancelling", KEYS.cancelling),
        ("emendo:clock", KEYS.clock),
        ("emendo:shards", KEYS.shards),
        ("emendo:sweeper", KEYS.sweeper),
        ("emendo:workers", KEYS.workers),
    ],
)
def test_names_of_the_control_plane(name, key):
    assert key == name


@given(prefixes, ids, ids)
def test_under_any_prefix_one_memorys_keys_share_the_slot_of_its_id(prefix, memory_id, job_id):
    keys = Keys(prefix)
    of_memory = (keys.memory(memory_id), keys.history(memory_id), keys.lock(memory_id), keys.applied(memory_id, job_id))
    assert {key_slot(key.encode()) for key in of_memory} == {key_slot(memory_id.encode())}
    assert len(set(of_memory)) == 4


@given(ids, ids, ids, ids)
def test_two_memories_or_jobs_never_share_an_applied_mark(memory, job, other_memory, other_job):
    same = (memory, job) == (other_memory, other_job)
    assert (KEYS.applied(memory, job) == KEYS.applied(other_memory, other_job)) is same


@given(names, names, names, names)
@example("a", "b:c", "a:b", "c")
def test_two_projects_never_share_an_idempotency_key(project, key, other_project, other_key):
    """Else a caller of one project gets, or is refused because of, a job of the other."""
    same = (project, key) == (other_project, other_key)
    assert (KEYS.idempotency(project, key) == KEYS.idempotency(other_project, other_key)) is same


@given(names, names)
def test_two_projects_never_share_their_list_of_jobs(project, other):
    assert (KEYS.jobs(project) == KEYS.jobs(other)) is (project == other)


@pytest.mark.parametrize("prefix", ["", "emendo:", "tenant-7:"])
def test_only_memory_hashes_begin_like_memories(prefix):
    keys = Keys(prefix)
    others = [getattr(keys, name) for name in ("index_alias", "shards", "clock", "delayed", "dead", "feed", "workers")]
    others += [keys.history("m"), keys.lock("m"), keys.applied("m", "j"), keys.job("memory"), keys.index("memory")]
    assert keys.memory("m") == f"{keys.memory_prefix}{{m}}"
    assert [name for name in others if name.startswith(keys.memory_prefix)] == []


@given(st.text(max_size=40), st.integers(1, 1_024))
def test_every_id_has_one_shard_within_range(routing_id, shards):
    settings = Settings(embedding_provider="local", inbox_shards=shards)
    assert 0 <= int(shard_of(routing_id, settings)) < shards
    assert shard_of(routing_id, settings) == shard_of(str(routing_id), settings)


@pytest.mark.parametrize("queue", QUEUES)
def test_a_shards_name_says_which_queue_its_drains_run_on(queue):
    settings = Settings(embedding_provider="local")
    names = {shard_name(queue, number, settings) for number in range(1_000)}
    assert len(names) == shards_of(queue, settings)
    assert {queue_of(name) for name in names} == {queue}


def test_shards_are_the_same_in_every_release():
    """Clients and workers of two releases work on one store during an update."""
    # The first is CRC-32's published check value, 0xCBF43926; the others follow from it.
    settings = Settings(embedding_provider="local", inbox_shards=16)
    known = {"123456789": 0xCBF43926 % 16, "": 0, "m": 8, "memory-1": 4, "ü": 5}
    assert {name: int(shard_of(name, settings)) for name in known} == known


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (EmbeddingSpace("openai", "m", 512), EmbeddingSpace("local", "m", 512)),
        (EmbeddingSpace("openai", "m", 512), EmbeddingSpace("openai", "m", 1536)),
        (EmbeddingSpace("openai", "m", 512), EmbeddingSpace("openai", "n", 512)),
        (EmbeddingSpace("openai", "m", 512, 1), EmbeddingSpace("openai", "m", 512, 2)),
    ],
)
def test_spaces_that_differ_have_fields_that_differ(one, other):
    assert one.field != other.field


@given(st.text(max_size=30), st.integers(1, 16_384))
def test_a_vector_field_is_a_plain_word_whatever_the_model_is_called(model, dimensions):
    field = EmbeddingSpace("openai", model, dimensions).field
    assert field.isascii()
    assert field.isidentifier()
    assert field.startswith("vector_openai_")
    assert field.endswith(f"_{dimensions}_1")
