"""How many drains of one process may wait for the chat model at once."""

from __future__ import annotations

import pytest

from emendo_workers.slots import Slots


@pytest.fixture
def rung():
    return []


def test_who_finds_no_slot_is_rung_for_when_one_is_free_the_longest_waiting_first(rung):
    slots = Slots(rung.append, 1)
    assert [slots.take(), slots.take(), slots.is_wanted] == [True, False, False]
    for shard in ("inference-1", "inference-2", "inference-1"):
        slots.wait(shard)
    assert (slots.is_wanted, rung) == (True, [])
    slots.give_back()
    assert rung == ["inference-1"]
    assert slots.take()
    slots.give_back()
    assert (rung, slots.is_wanted) == (["inference-1", "inference-2"], False)


def test_who_comes_to_wait_when_a_slot_has_just_become_free_is_rung_for_at_once(rung):
    slots = Slots(rung.append, 1)
    slots.wait("inference-1")
    assert (rung, slots.is_wanted) == (["inference-1"], False)


def test_a_worker_says_how_many_there_are(rung):
    slots = Slots(rung.append)
    slots.resize(3)
    assert [slots.take() for _ in range(4)] == [True, True, True, False]
