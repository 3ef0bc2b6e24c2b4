"""The model is only worth something when it is right: the laws it is meant to state, checked without any store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.model.effort import effort
from tests.model.reference import GONE, MISMATCH, Ask, Entry, ReferenceJob, ReferenceStore, Refusal

START = datetime(2026, 1, 1, tzinfo=UTC)
KEYS = ["a", "b", "c"]

patches = st.dictionaries(st.sampled_from(KEYS), st.sampled_from([1, 2, None]), max_size=2)
updates = st.builds(
    lambda text, patch: Ask("update", "m", text, patch), st.sampled_from([None, "x", "y", "z"]), patches
)
returns = st.just(Ask("restore", "m", version=1))
marks = st.sampled_from([Ask("delete", "m"), Ask("restore", "m"), Ask("restore", "m", version=1)])


def submit(store: ReferenceStore, ask: Ask, second: int, project: str = "p") -> ReferenceJob:
    job = ReferenceJob(f"job {second}", project, ask.op, [ask], START + timedelta(seconds=second))
    store.accept(job)
    return job


def worked(*asks: Ask, order: list[int] | None = None) -> tuple[ReferenceStore, list[Entry | Refusal]]:
    store = ReferenceStore()
    jobs = [submit(store, Ask("add", "m", "first", {"a": 0}, {"user_id": "u"}), 0)]
    jobs += [submit(store, ask, n) for n, ask in enumerate(asks, 1)]
    return store, [store.decide(jobs[n], 0) for n in [0, *(order or range(1, len(jobs)))]]


def state(store: ReferenceStore) -> Any:
    memory = store.memories["m"]
    return memory.text, memory.metadata, memory.is_deleted, memory.updated


@effort(200, deep=20_000)
@given(st.lists(updates | returns, max_size=6), st.lists(marks, max_size=4), st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(before, after, random):
    """Of what nobody is refused for: updates of a memory that is there, then deletes and restores."""
    asks = [*before, *after]
    order = list(range(1, len(asks) + 1))
    in_order, _ = worked(*asks)
    random.shuffle(order)
    shuffled, results = worked(*asks, order=order)
    assert all(isinstance(result, Entry) for result in results)
    assert state(shuffled) == state(in_order)
    assert [entry.version for entry in shuffled.memories["m"].history] == list(range(1, len(asks) + 2))


@effort(200, deep=20_000)
@given(st.lists(updates | returns | marks, max_size=8), st.randoms(use_true_random=False))
def test_each_entry_begins_where_the_one_before_ended(asks, random):
    order = list(range(1, len(asks) + 1))
    random.shuffle(order)
    store, _ = worked(*asks, order=order)
    history = store.memories["m"].history
    text, metadata = None, None
    for entry in history:
        assert (entry.old_memory, entry.old_metadata) == (text, metadata)
        if entry.event == "SUPERSEDED":
            assert (entry.new_memory, entry.new_metadata) == (text, metadata)
        if entry.new_memory is not None:
            text, metadata = entry.new_memory, entry.new_metadata
    assert state(store)[:2] == (text, metadata)


def test_refusals_change_nothing():
    store, results = worked(
        Ask("update", "m", "x", expected_version=2),
        Ask("delete", "m"),
        Ask("update", "m", "y"),
        Ask("update", "n", "z"),
    )
    assert [result.code for result in results if isinstance(result, Refusal)] == [MISMATCH, GONE, GONE]
    assert (store.memories["m"].text, store.memories["m"].version) == ("first", 2)


def test_another_project_has_no_such_memory():
    store, _ = worked()
    job = submit(store, Ask("update", "m", "taken"), 9, project="q")
    assert store.decide(job, 0) == Refusal(GONE)
    assert store.find("q") == {}
    assert list(store.find("p", {"user_id": "u"}, {"metadata": {"a": 0}})) == ["m"]
    assert store.find("p", filters={"metadata": {"a": False}}) == {}, "0 and False are two values"
