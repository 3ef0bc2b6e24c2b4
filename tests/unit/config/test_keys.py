"""Key names: as documented, and one memory's keys in one cluster slot."""

from __future__ import annotations

import random
import uuid
import zlib
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from redis.crc import key_slot

from emendo_config import Settings
from emendo_config.embedding_space import EmbeddingSpace
from emendo_config.queues import QUEUES
from emendo_config.shards import queue_of, shard_name, shard_of, shards_of
from emendo_config.store.keys import Keys

KEYS = Keys()


def test_names_are_the_documented_ones():
    assert KEYS.memory("m") == "emendo:memory:{m}"
    assert KEYS.history("m") == "emendo:history:{m}"
    assert KEYS.lock("m") == "emendo:lock:{m}"
    assert KEYS.applied("m", "j") == "emendo:applied:{m}:j"
    assert KEYS.confirmed("m") == "emendo:confirmed:{m}"
    assert KEYS.job("j") == "emendo:job:j"
    assert (KEYS.inbox(3), KEYS.wakeup(3)) == ("emendo:inbox:3", "emendo:bell:3")
    assert (KEYS.delayed, KEYS.feed, KEYS.unsorted_dead) == ("emendo:delayed", "emendo:feed", "emendo:dead")
    assert (KEYS.dead("p"), KEYS.dead_of("m")) == ("emendo:dead:p", "emendo:dead-of:m")
    assert KEYS.index_alias == "emendo:memories"


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", fullmatch=True))
def test_one_memorys_keys_share_a_slot(memory_id):
    names = (
        KEYS.memory(memory_id),
        KEYS.history(memory_id),
        KEYS.erased_history(memory_id),
        KEYS.lock(memory_id),
        KEYS.applied(memory_id, "job"),
        KEYS.confirmed(memory_id),
        KEYS.conflict(memory_id),
    )
    assert len({key_slot(name.encode()) for name in names}) == 1


def test_only_memories_match_the_index_prefix():
    others = (KEYS.history("m"), KEYS.lock("m"), KEYS.applied("m", "j"), KEYS.index_alias)
    assert KEYS.memory("m").startswith(KEYS.memory_prefix)
    assert not any(name.startswith(KEYS.memory_prefix) for name in others)


@pytest.mark.parametrize("prefix", ["emendo:", "a*b:", "[ab]?:", "back\\slash:", ""])
def test_a_memorys_key_gives_its_id_back_and_no_other_key_does(prefix):
    keys = Keys(prefix)
    assert keys.memory_id(keys.memory("m-1")) == "m-1"
    for other in (keys.history("m-1"), keys.lock("m-1"), keys.index_alias, f"x{keys.memory('m-1')}", "", "{m-1}"):
        assert keys.memory_id(other) is None


def test_shards_are_stable_and_spread():
    settings = Settings(embedding_provider="local")
    counts = Counter(shard_of(f"memory-{number}", settings) for number in range(16_000))
    assert len(counts) == 16
    assert min(counts.values()) > 800


@pytest.mark.parametrize("shards", [8, 16, 64])
@pytest.mark.parametrize(
    "name",
    [
        lambda n: str(uuid.UUID(int=random.Random(n).getrandbits(128), version=4)),
        lambda n: str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://example.com/{n}")),
        str,
        lambda n: f"{n:08}",
        lambda n: f"user-{n}",
        lambda n: f"{n}-{n}",
        lambda n: f"tenant-{n % 7}:user-{n // 7}",
        lambda n: f"{n * 16:x}",
        lambda n: str(uuid.UUID(int=n << 96)),
        lambda n: chr(0x4E00 + n // 16) * (1 + n % 16),
    ],
)
def test_every_kind_of_name_uses_all_shards_evenly(name, shards):
    settings = Settings(embedding_provider="local", inbox_shards=shards)
    each = 100
    counts = Counter(shard_of(name(number), settings) for number in range(each * shards))
    assert len(counts) == shards
    assert min(counts.values()) > each * 0.6
    assert max(counts.values()) < each * 1.5


def test_names_that_crc_alone_puts_on_half_of_the_shards_use_all_of_them():
    names = ["--".join(f"{number:011b}") + ":123e4567-e89b-12d3-a456-426614174000" for number in range(2_048)]
    assert len({zlib.crc32(name.encode()) % 16 for name in names}) == 8
    settings = Settings(embedding_provider="local", inbox_shards=16)
    counts = Counter(shard_of(name, settings) for name in names)
    assert len(counts) == 16
    assert min(counts.values()) > 2_048 / 16 * 0.6


@pytest.mark.parametrize(
    ("space", "field"),
    [
        (EmbeddingSpace("openai", "text-embedding-3-small", 1536), "vector_openai_text_embedding_3_small_1536_1"),
        (EmbeddingSpace("local", "use-multilingual-v3", 512, 2), "vector_local_use_multilingual_v3_512_2"),
    ],
)
def test_vector_fields_are_named_after_their_space(space, field):
    assert space.field == field


ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", fullmatch=True)
prefixes = st.from_regex(r"[a-z0-9_.-]{0,12}:?", fullmatch=True)
# Names that validation.scope_id accepts for projects and idempotency keys, as far as key names go.
names = st.text(st.sampled_from("ab:{}*"), min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("emendo:jobs:p", KEYS.jobs("p")),
        ("emendo:done:j", KEYS.job_channel("j")),
        ("emendo:idempotency:1:p:k", KEYS.idempotency("p", "k")),
        ("emendo:embedding:s:d", KEYS.embedding("s", "d")),
        ("emendo:index:s:2", KEYS.index("s")),
        ("emendo:cancelling", KEYS.cancelling),
        ("emendo:clock", KEYS.clock),
        ("emendo:shards", KEYS.shards),
        ("emendo:sweeper:2", KEYS.sweeper),
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
def test_two_memories_or_jobs_never_share_an_applied_key(memory, job, other_memory, other_job):
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
    names = ("index_alias", "shards", "clock", "delayed", "unsorted_dead", "dead_projects", "feed", "workers")
    others = [*(getattr(keys, name) for name in names), keys.dead("memory"), keys.dead_of("memory")]
    others += [keys.history("m"), keys.lock("m"), keys.applied("m", "j"), keys.job("memory"), keys.index("memory")]
    assert keys.memory("m") == f"{keys.memory_prefix}m}}"
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
    # MurmurHash3's 32-bit finaliser over CRC-32.
    settings = Settings(embedding_provider="local", inbox_shards=16)
    known = {"123456789": 3, "": 0, "m": 11, "memory-1": 15, "ü": 3}
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


@pytest.mark.parametrize("rest", ["", "two:", "memory:", "memory", "memory-two:", "memory:memory:"])
def test_memories_of_a_longer_prefix_do_not_begin_like_those_of_a_shorter_one(rest):
    other = Keys(f"app:{rest}x:").memory("m")
    assert not other.startswith(Keys("app:").memory_prefix)
    assert Keys("app:").memory_id(other) is None


@pytest.mark.parametrize(
    ("one", "other", "share"),
    [
        ("app:", "app:two:", False),
        ("app:", "app:memory:", False),
        ("app:", "app:jobs:", True),
        ("app:jobs:", "app:", True),
        ("app:", "app:dead-of:x:", True),
        ("", "jobs:", True),
        ("", "app:", False),
        ("app:", "shop:jobs:", False),
    ],
)
def test_installations_whose_keys_may_have_the_same_names_are_known(one, other, share):
    indexes = [Keys(one).index("s"), Keys(other).index("s"), Keys(other).open_index("t"), "of another program"]
    assert Keys(one).neighbours(indexes) == ([other] if share else [])


def test_an_index_is_known_by_its_name():
    names = [KEYS.index("s"), KEYS.open_index("s"), Keys("emendo:index:").index("s"), Keys("").index("s")]
    assert [KEYS.is_index(name) for name in names] == [True, True, False, False]


def test_a_list_of_jobs_may_be_the_list_of_a_longer_prefix():
    assert Keys("app:").owners("app:jobs:conflicts:p") == ["app:jobs:"]
    assert Keys("app:").owners("app:jobs:jobs:jobs:p") == ["app:jobs:", "app:jobs:jobs:"]
    assert Keys("app:").owners("app:jobs:p") == []
