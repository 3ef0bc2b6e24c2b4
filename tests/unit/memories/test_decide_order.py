"""Decisions in any order of arrival, against an independent model; late arrivals; refused versions."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emendo_client.errors import ConflictError, MemoryNotFoundError
from emendo_client.models import Event
from emendo_client.records.derived_fields import text_hash
from emendo_client.times import iso
from emendo_workers.memories.state import Snapshot, WriteTimes
from tests.support.deciding import BORN, TEXT, apply, entry, fresh, op

# Every order of arrival, against a model.

_texts = st.none() | st.sampled_from(["one", "two", "three"])
_metadata = st.none() | st.dictionaries(st.sampled_from("abcd"), st.none() | st.integers(0, 2), max_size=3)
_patches = st.lists(st.tuples(_texts, _metadata), min_size=1, max_size=6)


@given(_patches, st.dictionaries(st.sampled_from("abcd"), st.integers(7, 9)), st.data())
def test_in_any_order_each_field_ends_with_its_newest_submission(patches, born_with, data):
    operations = [
        op("update", BORN + 1 + number, text=text, metadata=metadata) for number, (text, metadata) in enumerate(patches)
    ]
    text, metadata = "born", dict(born_with)
    for operation in operations:
        text = operation.text or text
        metadata.update(operation.metadata or {})
    state, history = fresh(metadata=born_with), []
    for operation in data.draw(st.permutations(operations)):
        history.append(apply(state, operation))
        state = history[-1].after
    assert (state.memory, state.hash) == (text, text_hash(text))
    assert state.metadata == {key: value for key, value in metadata.items() if value is not None}
    assert [int(entry(change)["version"]) for change in history] == list(range(2, len(history) + 2))
    assert state.version == len(history) + 1
    for change in history:
        if change.event is Event.SUPERSEDED:
            assert (change.after.memory, change.after.metadata) == (change.before.memory, change.before.metadata)
    applied = [change for change in history if change.event is not Event.SUPERSEDED]
    if applied:
        newest = entry(applied[-1])
        assert newest["new_memory"] == state.memory
        assert json.loads(newest["new_metadata"]) == state.metadata
        assert state.updated_at == max(iso(change.operation.submitted) for change in applied)


@given(st.permutations([op("update", 20, text="t"), op("update", 30, metadata={"a": 1}), op("delete", 40)]))
def test_in_any_order_a_deleted_memory_stays_deleted(arrival):
    state = fresh()
    state.write_times = WriteTimes(base=10)
    for operation in arrival:
        state = apply(state, operation).after
    assert state.is_deleted
    with pytest.raises(MemoryNotFoundError):
        apply(state, op("update", 50, text="zombie"))


# Late arrivals.


def test_the_same_moment_never_wins_twice():
    state = apply(fresh(), op("update", 2_000, text="first", metadata={"a": 1})).after
    again = apply(state, op("update", 2_000, text="second", metadata={"a": 2}))
    assert (again.event, again.after.memory, again.after.metadata) == (Event.SUPERSEDED, "first", {"a": 1})


def test_a_late_patch_of_an_old_key_leaves_keys_born_with_the_memory_alone():
    late = apply(fresh(metadata={"a": 1}), op("update", BORN - 1, metadata={"a": 2, "b": 2}))
    assert (late.event, late.after.metadata) == (Event.SUPERSEDED, {"a": 1})


def test_a_key_may_be_set_again_after_its_removal():
    removed = apply(fresh(metadata={"a": 1}), op("update", 2_000, metadata={"a": None})).after
    assert apply(removed, op("update", 3_000, metadata={"a": 5})).after.metadata == {"a": 5}


def test_a_metadata_value_is_replaced_not_merged_in_depth():
    state = fresh(metadata={"a": {"x": 1, "y": 2}})
    assert apply(state, op("update", 2_000, metadata={"a": {"x": 3}})).after.metadata == {"a": {"x": 3}}


def test_a_late_update_of_a_deleted_memory_changes_what_a_restore_brings_back_and_nothing_visible():
    deleted = apply(fresh(metadata={"a": 1}), op("delete", 5_000)).after
    late = apply(deleted, op("update", 4_000, text="late", metadata={"a": 2}))
    assert (late.event, late.after.version, late.after.is_deleted) == (Event.UPDATE, 3, True)
    assert (late.after.memory, late.after.metadata, late.after.updated_at) == ("late", {"a": 2}, iso(5_000))


def test_a_late_restore_does_not_undo_a_newer_delete():
    deleted = apply(fresh(), op("delete", 5_000)).after
    late = apply(deleted, op("restore", 4_000))
    assert (late.event, late.after.is_deleted) == (Event.SUPERSEDED, True)


def test_a_late_delete_of_a_deleted_memory_is_superseded_and_a_new_one_is_recorded():
    deleted = apply(fresh(), op("delete", 5_000)).after
    assert apply(deleted, op("delete", 4_000)).event is Event.SUPERSEDED
    again = apply(deleted, op("delete", 6_000))
    assert (again.event, again.after.is_deleted, again.after.version) == (Event.DELETE, True, 3)


def test_a_restore_of_a_living_memory_shields_it_from_older_deletes():
    restored = apply(fresh(), op("restore", 5_000)).after
    assert not apply(restored, op("delete", 4_000)).after.is_deleted
    assert apply(restored, op("delete", 6_000)).after.is_deleted


def test_a_late_restore_to_a_version_keeps_what_newer_submissions_set():
    state = apply(fresh(metadata={"a": 1}), op("update", 5_000, text="newest", metadata={"a": 5})).after
    state = apply(state, op("update", 3_000, metadata={"b": 3})).after
    late = apply(state, op("restore", 4_000, version=1), snapshot=Snapshot("born", {"a": 1}))
    assert (late.event, late.after.memory, late.after.metadata) == (Event.RESTORE, "newest", {"a": 5})


def test_an_older_update_adds_nothing_to_a_memory_returned_to_a_version():
    """restore(version=1) at 5,000 says what all metadata is; an update submitted at 4,000 must not add to it."""
    restored = apply(fresh(), op("restore", 5_000, version=1), snapshot=Snapshot("born", {})).after
    late = apply(restored, op("update", 4_000, metadata={"k": "older"}))
    assert late.after.metadata == {}


# Reject mode and expected versions.


@pytest.mark.parametrize(
    "late",
    [
        {"text": "older"},
        {"metadata": {"a": "older"}},
        {"text": "older", "metadata": {"b": "free"}},  # a part would apply; reject takes all or nothing
        {"metadata": {"a": "older", "b": "free"}},
    ],
)
def test_reject_takes_all_or_nothing(late):
    newer = apply(fresh(), op("update", 5_000, text="newer", metadata={"a": "newer"})).after
    with pytest.raises(ConflictError) as refused:
        apply(newer, op("update", 4_000, on_conflict="reject", **late))
    assert (refused.value.error_code, refused.value.details["current_version"]) == ("SUPERSEDED", 2)


def test_reject_passes_a_late_patch_of_fields_nobody_touched():
    newer = apply(fresh(), op("update", 5_000, text="newer")).after
    late = apply(newer, op("update", 4_000, metadata={"b": 1}, on_conflict="reject"))
    assert (late.event, late.after.memory, late.after.metadata) == (Event.UPDATE, "newer", {"b": 1})


def test_reject_refuses_a_late_update_of_a_deleted_memory():
    deleted = apply(fresh(), op("delete", 5_000)).after
    with pytest.raises(ConflictError, match="newer submission"):
        apply(deleted, op("update", 4_000, text="x", on_conflict="reject"))


@pytest.mark.parametrize("kind", ["update", "delete", "restore"])
def test_every_change_may_ask_for_a_version(kind):
    more = TEXT.get(kind, {})
    with pytest.raises(ConflictError) as refused:
        apply(fresh(), op(kind, 2_000, expected_version=2, **more))
    assert refused.value.error_code == "VERSION_MISMATCH"
    assert refused.value.details == {"expected_version": 2, "current_version": 1}
    assert apply(fresh(), op(kind, 2_000, expected_version=1, **more)).after.version == 2


def test_superseded_changes_count_as_versions():
    newer = apply(fresh(), op("update", 5_000, text="newer")).after
    state = apply(newer, op("update", 4_000, text="older")).after
    assert apply(state, op("update", 6_000, text="x", expected_version=3)).after.version == 4
