"""Corners of the decision: a model that is independent of the code, the history's fields, limits, projects, time."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emendo_client._time import iso
from emendo_client.errors import ConflictError, MemoryNotFoundError, ValidationError
from emendo_client.models import Event
from emendo_client.records import history_entry, text_hash
from emendo_workers.decide import Change, apply_operation
from emendo_workers.operations import Entry, Operation, parse_work
from emendo_workers.state import STATE_FIELDS, MemoryState, Snapshot, Stamps, metadata_json, parse_state

NOW = 1_800_000_000_000_000
BORN = 1_000


def op(kind: str, submitted: int, **more) -> Operation:
    return Operation(f"job-{submitted}", more.pop("project", "p"), submitted, kind, "m", **more)


def apply(state: MemoryState, operation: Operation, **more) -> Change:
    before = copy.deepcopy(state)
    try:
        return apply_operation(state, operation, **{"snapshot": None, "now": NOW, "metadata_limit": 16_384, **more})
    finally:
        assert state == before, "the input state was changed"


def fresh(**more) -> MemoryState:
    return apply(MemoryState("m"), op("add", BORN, text="born", user_id="ana", **more)).after


def entry(change: Change) -> dict[str, str]:
    flat = change.history_fields()
    return dict(zip(flat[::2], flat[1::2], strict=True))


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
    state.stamps = Stamps(base=10)
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
    more = {"text": "x"} if kind == "update" else {}
    with pytest.raises(ConflictError) as refused:
        apply(fresh(), op(kind, 2_000, expected_version=2, **more))
    assert refused.value.error_code == "VERSION_MISMATCH"
    assert refused.value.details == {"expected_version": 2, "current_version": 1}
    assert apply(fresh(), op(kind, 2_000, expected_version=1, **more)).after.version == 2


def test_superseded_changes_count_as_versions():
    newer = apply(fresh(), op("update", 5_000, text="newer")).after
    state = apply(newer, op("update", 4_000, text="older")).after
    assert apply(state, op("update", 6_000, text="x", expected_version=3)).after.version == 4


# What is not there.


@pytest.mark.parametrize("kind", ["update", "delete", "restore"])
@pytest.mark.parametrize("more", [{"expected_version": 99}, {}])
def test_another_projects_memory_says_no_more_than_a_missing_one(kind, more):
    messages = []
    for state in (fresh(), MemoryState("m")):
        with pytest.raises(MemoryNotFoundError) as refused:
            apply(state, op(kind, 2_000, project="other", text="x", **more))
        messages.append(refused.value.to_dict())
    assert messages[0] == messages[1]
    assert "born" not in str(messages)


@pytest.mark.parametrize(("early", "found"), [(-1, True), (0, False), (1, False)])
def test_a_memory_is_gone_from_the_microsecond_it_expires(early, found):
    state = fresh(expires_at=iso(NOW))
    if found:
        assert apply(state, op("update", 2_000, text="x"), now=NOW + early).after.memory == "x"
    else:
        with pytest.raises(MemoryNotFoundError):
            apply(state, op("update", 2_000, text="x"), now=NOW + early)


# Limits.


def test_merged_metadata_may_be_exactly_as_large_as_the_limit():
    size = len(metadata_json({"a": "é", "b": 1}).encode())
    state, patch = fresh(metadata={"a": "é"}), op("update", 2_000, metadata={"b": 1})
    assert apply(state, patch, metadata_limit=size).after.metadata == {"a": "é", "b": 1}
    with pytest.raises(ValidationError, match=f"over {size - 1} bytes"):
        apply(state, patch, metadata_limit=size - 1)


def test_over_the_limit_a_key_may_still_be_removed_and_the_text_changed():
    state = fresh(metadata={"a": "x" * 50, "b": 1})
    assert apply(state, op("update", 2_000, text="y"), metadata_limit=20).after.memory == "y"
    assert apply(state, op("update", 2_000, metadata={"a": None}), metadata_limit=20).after.metadata == {"b": 1}


# What is recorded.


def test_an_update_is_recorded_field_by_field():
    state = fresh(metadata={"a": 1}, actor_id="ana", role="user")
    change = apply(state, op("update", 2_000, text="neu ü", metadata={"a": None}, actor_id="bob", role="assistant"))
    assert entry(change) == {
        "version": "2",
        "event": "UPDATE",
        "old_memory": "born",
        "new_memory": "neu ü",
        "old_metadata": '{"a":1}',
        "new_metadata": "{}",
        "created_at": iso(BORN),
        "updated_at": iso(2_000),
        "is_deleted": "0",
        "actor_id": "bob",
        "role": "assistant",
        "job_id": "job-2000",
        "previous_hash": text_hash("born"),
    }
    assert (change.after.actor_id, change.after.role) == ("ana", "user")  # who made the memory stays


def test_an_add_has_no_before_and_a_delete_no_after():
    added = entry(apply(MemoryState("m"), op("add", BORN, text="born", metadata={"a": 1})))
    assert added.keys().isdisjoint({"old_memory", "old_metadata", "previous_hash"})
    assert (added["new_memory"], added["new_metadata"], added["is_deleted"]) == ("born", '{"a":1}', "0")
    deleted = entry(apply(fresh(), op("delete", 2_000)))
    assert deleted.keys().isdisjoint({"new_memory", "new_metadata"})
    assert (deleted["old_memory"], deleted["is_deleted"]) == ("born", "1")


def test_a_superseded_change_is_recorded_with_its_own_time_and_the_text_as_it_stays():
    newer = apply(fresh(), op("update", 5_000, text="newer")).after
    late = entry(apply(newer, op("update", 4_000, text="older", actor_id="bob")))
    assert (late["event"], late["version"], late["updated_at"]) == ("SUPERSEDED", "3", iso(4_000))
    assert (late["old_memory"], late["new_memory"], late["actor_id"]) == ("newer", "newer", "bob")


@pytest.mark.parametrize("kind", ["add", "update", "delete", "restore"])
def test_every_entry_is_one_the_client_can_read(kind):
    state = MemoryState("m") if kind == "add" else fresh()
    change = apply(state, op(kind, 2_000, text="x", user_id="ana"))
    read = history_entry("m", b"1-0", {name.encode(): value.encode() for name, value in entry(change).items()})
    assert (read.event, read.version, read.job_id) == (change.event, change.after.version, "job-2000")
    assert read.is_deleted is (kind == "delete")


def test_a_result_names_the_change_and_holds_no_text():
    change = apply(fresh(), op("update", 2_000, text="new"))
    assert change.result() == {"memory_id": "m", "event": "UPDATE", "version": 2, "error": None}


# What is read.


def test_a_state_is_read_from_the_fields_of_its_hash():
    values = dict.fromkeys(STATE_FIELDS)
    assert parse_state("m", list(values.values())) == MemoryState("m")
    stamps = Stamps(1, 2, 3, {"ü": 4})
    values.update(project=b"p", memory="ü".encode(), metadata=b'{"a":1}', version=b"3", is_deleted=b"1")
    values.update(stamps=stamps.to_json().encode())
    state = parse_state("m", list(values.values()))
    assert state == MemoryState(
        "m", project="p", memory="ü", metadata={"a": 1}, version=3, is_deleted=True, stamps=stamps
    )


def test_a_job_is_read_with_its_submission_time_on_every_operation():
    payload = json.dumps(
        {"operations": [{"op": "update", "memory_id": "m", "text": "x"}, {"op": "delete", "memory_id": "n"}]}
    )
    work = parse_work(Entry("inbox", "1-0", "j"), [b"update", b"p", payload.encode(), b"2", b"77", None, None, None])
    assert (work.kind, work.project, work.attempts, work.submitted) == ("update", "p", 2, 77)
    assert work.operations == [
        Operation("j", "p", 77, "update", "m", text="x"),
        Operation("j", "p", 77, "delete", "n"),
    ]
