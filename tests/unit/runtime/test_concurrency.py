"""How many drains of one process may wait for the chat model at once."""

from __future__ import annotations

import pytest

from emendo_workers.runtime.concurrency import ConcurrencyLimiter


@pytest.fixture
def woken():
    return []


def test_who_finds_no_slot_is_woken_when_one_is_free_the_longest_waiting_first(woken):
    slots = ConcurrencyLimiter(woken.append, 1)
    assert [slots.try_acquire(), slots.try_acquire(), slots.has_waiting] == [True, False, False]
    for shard in ("inference-1", "inference-2", "inference-1"):
        slots.notify_when_free(shard)
    assert (slots.has_waiting, woken) == (True, [])
    slots.release()
    assert woken == ["inference-1"]
    assert slots.try_acquire()
    slots.release()
    assert (woken, slots.has_waiting) == (["inference-1", "inference-2"], False)


def test_a_slot_is_handed_over_without_becoming_free(woken):
    slots = ConcurrencyLimiter(woken.append, 1)
    assert slots.try_acquire()
    for shard in ("inference-i1", "bulk-2", "bulk-1"):
        slots.notify_when_free(shard)
    assert [slots.hand_over() for _ in range(3)] == ["bulk-2", "bulk-1", "inference-i1"]
    assert not slots.try_acquire(), "nobody else may take it"
    assert slots.hand_over() is None
    assert (slots.try_acquire(), woken) == (True, [])


def test_imported_conversations_come_after_single_ones(woken):
    slots = ConcurrencyLimiter(woken.append, 1)
    assert slots.try_acquire()
    for shard in ("inference-i1", "inference-i2", "inference-2", "bulk-1"):
        slots.notify_when_free(shard)
    for _ in range(4):
        slots.release()
    assert woken == ["inference-2", "bulk-1", "inference-i1", "inference-i2"]


def test_who_comes_to_wait_when_a_slot_has_just_become_free_is_woken_at_once(woken):
    slots = ConcurrencyLimiter(woken.append, 1)
    slots.notify_when_free("inference-1")
    assert (woken, slots.has_waiting) == (["inference-1"], False)


def test_a_worker_says_how_many_there_are(woken):
    slots = ConcurrencyLimiter(woken.append)
    slots.set_limit(3)
    assert [slots.try_acquire() for _ in range(4)] == [True, True, True, False]
