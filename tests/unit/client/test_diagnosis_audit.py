"""The audit's course through the store: batches, samples, second looks; over a store that is a dict."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from emendo_client.exchanges.diagnosis import audit as module
from emendo_client.exchanges.diagnosis.audit import audit
from emendo_client.exchanges.diagnosis.models import Check
from emendo_config import Keys, Settings

KEYS = Keys("a*[b]:")
SETTINGS = Settings(key_prefix=KEYS.prefix, embedding_provider="local")


class Store:
    """Answers an audit's commands: memories by id, erased ones, as they are the least to write down."""

    def __init__(self, count: int, page: int = 7) -> None:
        self.ids = [f"m{number}" for number in range(count)]
        self.page = page
        self.damaged: set[str] = set()
        self.gone: set[str] = set()
        self.repairs_itself = False
        self.reads: Counter[str] = Counter()
        self.batches: list[int] = []

    def run(self, steps):
        try:
            batch = next(steps)
            while True:
                assert batch.plane == "data"
                batch = steps.send([self.answer(command) for command in batch.commands])
        except StopIteration as stop:
            return stop.value

    def answer(self, command):
        if command[0] == "SCAN":
            assert command[3] == KEYS.memory_pattern
            start = command[1]
            keys = [KEYS.memory(name).encode() for name in self.ids[start : start + self.page]]
            following = start + self.page
            return (following if following < len(self.ids) else 0), [*keys, KEYS.memory("x").encode()[:-1]]
        if command[0] == "FT.SEARCH":
            keys = list(command[5 : 5 + command[4]]) if "INKEYS" in command else []
            self.batches.append(len(keys))
            return [len(keys) or len(self.ids), *(key.encode() for key in keys)]
        if command[0] == "HGETALL":
            assert command[1] == KEYS.spaces
            return {}
        assert command[0] == "EVALSHA_RO"
        memory_id = KEYS.memory_id(command[3])
        self.reads[memory_id] += 1
        if memory_id in self.gone:
            return [b"none", b"none"]
        fields = [b"id", memory_id.encode(), b"project", b"p", b"version", b"1", b"is_deleted", b"1", b"erased", b"1"]
        if memory_id in self.damaged and not (self.repairs_itself and self.reads[memory_id] > 1):
            fields += [b"memory", b"I am still here."]
        entry = {"version": "1", "event": "DELETE", "job_id": "j", "created_at": "2026-01-01T00:00:00Z"}
        entry |= {"updated_at": "2026-01-01T00:00:00Z", "is_deleted": "1"}
        return [fields, [[b"1-0", [part.encode() for pair in entry.items() for part in pair]]]]


def look(store, sample=None, report=lambda done, total: None, seed=1):
    return store.run(audit(KEYS, SETTINGS, sample, report, random.Random(seed)))


def test_an_empty_store_is_right_and_needs_no_index():
    store = Store(0)
    assert (look(store).looked_at, look(store, 5).looked_at, store.batches) == (0, 0, [])


@pytest.mark.parametrize("count", [1, 249, 250, 251, 600])
def test_every_memory_is_looked_at_once_and_in_batches(count):
    store = Store(count)
    told = []
    found = look(store, report=lambda done, total: told.append((done, total)))
    assert (found.looked_at, found.wrong, found.by_check, found.damaged) == (count, 0, {}, [])
    assert set(store.reads.values()) == {1}
    assert len(store.reads) == count
    assert max(store.batches) <= module.BATCH
    assert len(store.batches) == 1 + -(-count // module.BATCH)  # the first asks how many there are
    assert told[-1] == (count, count)
    assert told == sorted(told)


def test_what_is_wrong_is_counted_and_the_first_are_named():
    store = Store(300)
    store.damaged = set(store.ids[100:130])
    found = look(store)
    assert (found.looked_at, found.wrong, found.by_check) == (300, 30, {Check.ERASED: 30})
    assert [damaged.memory_id for damaged in found.damaged] == store.ids[100:120]
    (finding,) = found.damaged[0].findings
    assert (finding.check, finding.found, found.damaged[0].project) == ("erased", "memory", "p")
    assert "still here" not in found.model_dump_json()


def test_what_is_right_at_the_second_look_was_no_damage():
    store = Store(20)
    store.damaged, store.repairs_itself = {"m3", "m4"}, True
    assert look(store).wrong == 0
    assert [name for name, reads in store.reads.items() if reads == 2] == ["m3", "m4"]


def test_a_memory_that_is_gone_is_no_damage():
    store = Store(20)
    store.gone = {"m3"}
    found = look(store)
    assert (found.looked_at, found.wrong) == (19, 0)


def test_a_sample_has_its_size_and_no_memory_twice():
    store = Store(1_000)
    assert look(store, 300).looked_at == 300
    assert set(store.reads.values()) == {1}
    assert look(Store(40), 300).looked_at == 40


def test_any_memory_may_be_drawn():
    drawn: Counter[str] = Counter()
    for seed in range(200):
        store = Store(20)
        look(store, 5, seed=seed)
        drawn += store.reads
    assert set(drawn) == {f"m{number}" for number in range(20)}
    assert min(drawn.values()) > 25  # 50 on average, standard deviation 6
    assert max(drawn.values()) < 75


def test_an_id_that_comes_twice_is_looked_at_once_in_a_sample():
    store = Store(20)
    store.ids += store.ids[:5]
    assert look(store, 100).looked_at == 20
