"""Key names: as documented, and one memory's keys in one cluster slot."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from emendo_config import Settings
from emendo_config.keys import Keys
from emendo_config.shards import shard_of
from emendo_config.spaces import EmbeddingSpace

KEYS = Keys()


def test_names_are_the_documented_ones():
    assert KEYS.memory("m") == "emendo:memory:{m}"
    assert KEYS.history("m") == "emendo:history:{m}"
    assert KEYS.lock("m") == "emendo:lock:{m}"
    assert KEYS.applied("m", "j") == "emendo:applied:{m}:j"
    assert KEYS.job("j") == "emendo:job:j"
    assert (KEYS.inbox(3), KEYS.bell(3)) == ("emendo:inbox:3", "emendo:bell:3")
    assert (KEYS.delayed, KEYS.feed, KEYS.dead) == ("emendo:delayed", "emendo:feed", "emendo:dead")
    assert KEYS.index_alias == "emendo:memories"


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", fullmatch=True))
def test_one_memorys_keys_share_a_slot(memory_id):
    names = (
        KEYS.memory(memory_id),
        KEYS.history(memory_id),
        KEYS.lock(memory_id),
        KEYS.applied(memory_id, "job"),
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
    assert [shard_of(name, settings) for name in ("a", "b", "memory-1")] == ["3", "9", "4"]
    counts = Counter(shard_of(f"memory-{number}", settings) for number in range(16_000))
    assert len(counts) == 16
    assert min(counts.values()) > 800


@pytest.mark.parametrize(
    ("space", "field"),
    [
        (EmbeddingSpace("openai", "text-embedding-3-small", 1536), "vector_openai_text_embedding_3_small_1536_1"),
        (EmbeddingSpace("local", "use-multilingual-v3", 512, 2), "vector_local_use_multilingual_v3_512_2"),
    ],
)
def test_vector_fields_are_named_after_their_space(space, field):
    assert space.field == field
