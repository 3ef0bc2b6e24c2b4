"""Which drains join: many, busy, with small batches; and that nothing given is ever forgotten."""

from __future__ import annotations

import pytest

from emendo_workers.joining import BUSY, FEWEST, Claim, Drains

MOST = 256


def claim(name: str) -> Claim:
    return Claim(name, f"inbox-{name}", f"bell-{name}", f"drain:{name}")


@pytest.fixture
def drains():
    """One more drain than must go on, each with a batch of twenty."""
    made = Drains(MOST)
    for number in range(FEWEST + 1):
        made.enter(str(number))
        assert made.note(str(number), 1, 20) == []
    return made


def test_one_of_many_busy_drains_gives_its_claim_to_another(drains):
    assert drains.join("0", [claim("0")])
    assert len(drains) == FEWEST
    others = [drains.note(str(number), 1, 20) for number in range(1, FEWEST + 1)]
    assert sorted(map(len, others)) == [0] * (FEWEST - 1) + [1]
    assert [claim("0")] in others


def test_as_many_as_must_go_on_go_on(drains):
    assert drains.join("0", [claim("0")])
    assert not any(drains.join(str(number), [claim(str(number))]) for number in range(1, FEWEST + 1))
    assert len(drains) == FEWEST


@pytest.mark.parametrize("size", [BUSY - 1, MOST - 19])
def test_who_is_idle_or_has_large_batches_goes_on_alone(drains, size):
    drains.note("0", 1, size)
    assert not drains.join("0", [claim("0")])


def test_none_is_given_to_one_that_would_have_too_large_batches(drains):
    for number in range(1, FEWEST + 1):
        drains.note(str(number), 1, MOST - 19)
    assert not drains.join("0", [claim("0")])


def test_claims_are_shared_evenly():
    drains = Drains(MOST)
    shards = [str(number) for number in range(4 * FEWEST)]
    for shard in shards:
        drains.enter(shard)
        drains.note(shard, 1, BUSY)
    held = {shard: [claim(shard)] for shard in shards}
    joined = True
    while joined:
        joined = False
        for shard in [each for each in shards if each in held]:
            held[shard] += drains.note(shard, len(held[shard]), BUSY)
            if drains.join(shard, held[shard]):
                del held[shard]
                joined = True
    assert len(held) == len(drains)
    assert max(map(len, held.values())) <= 4
    assert sorted(each.shard for claims in held.values() for each in claims) == sorted(shards), "none was forgotten"


def test_what_was_given_to_a_drain_that_gives_its_own_goes_along():
    drains = Drains(MOST)
    names = [str(number) for number in range(2 * FEWEST + 2)]  # three claims are a fair share
    for name in names:
        drains.enter(name)
        drains.note(name, 1, 100 if name not in "01" else BUSY)
    assert drains.join("0", [claim("0")]), "1 takes it: its batches are the smallest"
    assert drains.join("1", [claim("1")])
    given = [drains.note(name, 1, BUSY) for name in names[2:]]
    assert [claim("1"), claim("0")] in given


def test_a_drain_that_was_given_something_in_the_last_moment_goes_on(drains):
    for number in range(2, FEWEST + 1):
        drains.note(str(number), 1, 100)
    assert drains.join("0", [claim("0")])
    assert drains.leave("1") == [claim("0")]
    assert drains.leave("1") == []
    assert len(drains) == FEWEST - 1


def test_a_drain_that_fails_says_what_it_was_given(drains):
    for number in range(2, FEWEST + 1):
        drains.note(str(number), 1, 100)
    assert drains.join("0", [claim("0")])
    assert drains.abandon("1") == [claim("0")]
    assert drains.abandon("1") == []
    assert drains.abandon("0") == [], "it has ended long since"
