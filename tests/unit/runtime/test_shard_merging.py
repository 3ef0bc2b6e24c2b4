"""Which pool join: many, busy, with small batches; and that nothing given is ever forgotten."""

from __future__ import annotations

import pytest

from emendo_workers.runtime.shard_merging import MIN_BATCH, MIN_DRAINS, ShardClaim, ShardPool

MOST = 256


def claim(name: str) -> ShardClaim:
    return ShardClaim(name, f"inbox-{name}", f"bell-{name}", f"drain:{name}")


@pytest.fixture
def pool():
    """One more drain than must go on, each with a batch of twenty."""
    made = ShardPool(MOST)
    for number in range(MIN_DRAINS + 1):
        made.register(str(number))
        assert made.record_batch(str(number), 1, 20) == []
    return made


def test_one_of_many_busy_drains_gives_its_claim_to_another(pool):
    assert pool.merge("0", [claim("0")])
    assert len(pool) == MIN_DRAINS
    others = [pool.record_batch(str(number), 1, 20) for number in range(1, MIN_DRAINS + 1)]
    assert sorted(map(len, others)) == [0] * (MIN_DRAINS - 1) + [1]
    assert [claim("0")] in others


def test_as_many_as_must_go_on_go_on(pool):
    assert pool.merge("0", [claim("0")])
    assert not any(pool.merge(str(number), [claim(str(number))]) for number in range(1, MIN_DRAINS + 1))
    assert len(pool) == MIN_DRAINS


@pytest.mark.parametrize("size", [MIN_BATCH - 1, MOST - 19])
def test_who_is_idle_or_has_large_batches_goes_on_alone(pool, size):
    pool.record_batch("0", 1, size)
    assert not pool.merge("0", [claim("0")])


def test_none_is_given_to_one_that_would_have_too_large_batches(pool):
    for number in range(1, MIN_DRAINS + 1):
        pool.record_batch(str(number), 1, MOST - 19)
    assert not pool.merge("0", [claim("0")])


def test_claims_are_shared_evenly():
    pool = ShardPool(MOST)
    shards = [str(number) for number in range(4 * MIN_DRAINS)]
    for shard in shards:
        pool.register(shard)
        pool.record_batch(shard, 1, MIN_BATCH)
    held = {shard: [claim(shard)] for shard in shards}
    joined = True
    while joined:
        joined = False
        for shard in [each for each in shards if each in held]:
            held[shard] += pool.record_batch(shard, len(held[shard]), MIN_BATCH)
            if pool.merge(shard, held[shard]):
                del held[shard]
                joined = True
    assert len(held) == len(pool)
    assert max(map(len, held.values())) <= 4
    assert sorted(each.shard for claims in held.values() for each in claims) == sorted(shards), "none was forgotten"


def test_what_was_given_to_a_drain_that_gives_its_own_goes_along():
    pool = ShardPool(MOST)
    names = [str(number) for number in range(2 * MIN_DRAINS + 2)]  # three claims are a fair share
    for name in names:
        pool.register(name)
        pool.record_batch(name, 1, 100 if name not in "01" else MIN_BATCH)
    assert pool.merge("0", [claim("0")]), "1 takes it: its batches are the smallest"
    assert pool.merge("1", [claim("1")])
    given = [pool.record_batch(name, 1, MIN_BATCH) for name in names[2:]]
    assert [claim("1"), claim("0")] in given


def test_a_drain_that_was_given_something_in_the_last_moment_goes_on(pool):
    for number in range(2, MIN_DRAINS + 1):
        pool.record_batch(str(number), 1, 100)
    assert pool.merge("0", [claim("0")])
    assert pool.finish("1") == [claim("0")]
    assert pool.finish("1") == []
    assert len(pool) == MIN_DRAINS - 1


def test_a_drain_that_fails_says_what_it_was_given(pool):
    for number in range(2, MIN_DRAINS + 1):
        pool.record_batch(str(number), 1, 100)
    assert pool.merge("0", [claim("0")])
    assert pool.remove("1") == [claim("0")]
    assert pool.remove("1") == []
    assert pool.remove("0") == [], "it has ended long since"
