"""The effect of one operation on one memory: pure, so every rule is stated here once."""

from __future__ import annotations

import copy
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emendo_client.errors import ConflictError, MemoryNotFoundError, ValidationError
from emendo_client.models import Event
from emendo_client.records.derived_fields import text_hash
from emendo_client.times import iso
from emendo_workers.jobs.operations import OPERATIONS, Operation
from emendo_workers.memories.commit import hash_fields
from emendo_workers.memories.decide import Change, apply_operation
from emendo_workers.memories.state import MemoryState, Snapshot, WriteTimes, metadata_json

NOW = 10_000_000
_serial = itertools.count(1)


def op(kind: str, submitted: int, **more) -> Operation:
    return OPERATIONS[kind](f"job-{next(_serial)}", "p", submitted, "m", **more)


def apply(state: MemoryState, operation: Operation, **more) -> Change:
    return apply_operation(state, operation, **{"snapshot": None, "now": NOW, "metadata_limit": 16_384, **more})


def fresh(text: str = "I dislike seafood.", submitted: int = 100, **more) -> MemoryState:
    added = op("add", submitted, text=text, user_id="ana", role="user", **more)
    return apply(MemoryState("m"), added).after


def pairs(change: Change) -> dict[str, str]:
    flat = change.history_fields()
    return dict(zip(flat[::2], flat[1::2], strict=True))


def test_add_makes_version_1_with_the_submission_time():
    change = apply(MemoryState("m"), op("add", 100, text="hello", user_id="ana", metadata={"a": 1}))
    after = change.after
    assert (change.event, after.version, after.memory, after.hash) == (Event.ADD, 1, "hello", text_hash("hello"))
    assert after.created_at == after.updated_at == iso(100)
    assert (after.user_id, after.metadata) == ("ana", {"a": 1})


def test_add_on_an_existing_memory_is_a_conflict():
    with pytest.raises(ConflictError):
        apply(fresh(), op("add", 200, text="again"))


def test_update_changes_text_and_merges_metadata_key_by_key():
    state = fresh(metadata={"keep": 1, "drop": 2})
    change = apply(state, op("update", 200, text="new", metadata={"drop": None, "add": 3}))
    assert change.after.memory == "new"
    assert change.after.metadata == {"keep": 1, "add": 3}
    assert (change.after.version, change.after.updated_at) == (2, iso(200))
    assert change.after.created_at == iso(100)
    entry = pairs(change)
    assert (entry["new_memory"], entry["new_metadata"]) == ("new", '{"keep":1,"add":3}')
    assert entry.keys().isdisjoint({"old_memory", "old_metadata"}), "the entry before has them"
    assert entry["previous_hash"] == state.hash


def test_the_given_state_is_never_changed():
    state = fresh(metadata={"a": {"deep": 1}})
    before = copy.deepcopy(state)
    for operation in (op("update", 200, text="x", metadata={"a": None}), op("delete", 300), op("restore", 400)):
        apply(state, operation)
    assert state == before


def test_a_late_text_does_not_undo_a_newer_one():
    newer = apply(fresh(), op("update", 300, text="newer")).after
    late = apply(newer, op("update", 200, text="older"))
    assert late.event is Event.SUPERSEDED
    assert (late.after.memory, late.after.version, late.after.updated_at) == ("newer", 3, iso(300))
    assert pairs(late)["new_memory"] == "newer"


def test_a_late_patch_still_sets_the_keys_nobody_newer_set():
    newer = apply(fresh(), op("update", 300, metadata={"a": "new"})).after
    late = apply(newer, op("update", 200, text="late text", metadata={"a": "old", "b": "late"}))
    assert late.event is Event.UPDATE
    assert (late.after.memory, late.after.metadata) == ("late text", {"a": "new", "b": "late"})


def test_a_removed_key_stays_removed_for_older_submissions():
    removed = apply(fresh(metadata={"a": 1}), op("update", 300, metadata={"a": None})).after
    assert apply(removed, op("update", 200, metadata={"a": "ghost"})).after.metadata == {}


def test_reject_mode_fails_when_a_newer_submission_was_first():
    newer = apply(fresh(), op("update", 300, text="newer")).after
    with pytest.raises(ConflictError) as conflict:
        apply(newer, op("update", 200, text="older", on_conflict="reject"))
    assert conflict.value.details == {"current_version": 2}
    assert apply(newer, op("update", 400, text="newest", on_conflict="reject")).after.memory == "newest"


def test_expected_version_carries_both_versions():
    with pytest.raises(ConflictError) as conflict:
        apply(fresh(), op("update", 200, text="x", expected_version=7))
    assert conflict.value.details == {"expected_version": 7, "current_version": 1}
    assert apply(fresh(), op("update", 200, text="x", expected_version=1)).after.version == 2


def test_delete_hides_and_keeps_the_text_for_a_restore():
    change = apply(fresh(), op("delete", 200))
    assert (change.event, change.after.is_deleted, change.after.memory) == (Event.DELETE, True, "I dislike seafood.")
    assert "new_memory" not in pairs(change)
    restored = apply(change.after, op("restore", 300))
    assert (restored.event, restored.after.is_deleted, restored.after.version) == (Event.RESTORE, False, 3)
    assert restored.after.memory == "I dislike seafood."


def test_an_update_never_brings_a_deleted_memory_back():
    deleted = apply(fresh(), op("delete", 200)).after
    with pytest.raises(MemoryNotFoundError):
        apply(deleted, op("update", 300, text="zombie"))
    late = apply(deleted, op("update", 150, text="was on its way"))
    assert (late.event, late.after.is_deleted, late.after.memory) == (Event.UPDATE, True, "was on its way")


def test_arrival_order_of_update_delete_and_restore_does_not_matter():
    operations = [op("update", 200, text="new"), op("delete", 300), op("restore", 400)]
    for arrival in itertools.permutations(operations):
        state = fresh()
        for operation in arrival:
            state = apply(state, operation).after
        assert (state.memory, state.is_deleted, state.version) == ("new", False, 4), [each.op for each in arrival]


def test_a_second_delete_counts_against_a_late_restore():
    deleted = apply(apply(fresh(), op("delete", 200)).after, op("delete", 400)).after
    assert apply(deleted, op("restore", 300)).after.is_deleted is True


def test_a_late_delete_does_not_undo_a_newer_restore():
    restored = apply(apply(fresh(), op("delete", 200)).after, op("restore", 400)).after
    late = apply(restored, op("delete", 300))
    assert (late.event, late.after.is_deleted) == (Event.SUPERSEDED, False)


def test_restore_to_a_version_sets_text_and_every_key():
    state = apply(fresh(metadata={"a": 1}), op("update", 200, text="two", metadata={"a": 2, "b": 2})).after
    change = apply(state, op("restore", 300, version=1), snapshot=Snapshot("one", {"a": 1}))
    assert (change.after.memory, change.after.metadata, change.event) == ("one", {"a": 1}, Event.RESTORE)


def test_a_late_update_does_not_bring_back_a_key_that_a_newer_restore_left_out():
    state = apply(fresh(), op("update", 200, metadata={"a": None})).after
    restored = apply(state, op("restore", 400, version=1), snapshot=Snapshot("one", {})).after
    late = apply(restored, op("update", 300, metadata={"a": 2}))
    assert (late.event, late.after.metadata) == (Event.SUPERSEDED, {})


def test_restore_to_a_version_there_never_was_is_refused():
    with pytest.raises(ValidationError) as refused:
        apply(fresh(), op("restore", 300, version=9))
    assert refused.value.error_code == "NO_SUCH_VERSION"


@pytest.mark.parametrize("kind", ["update", "delete", "restore"])
def test_what_is_not_there_is_not_found(kind):
    more = {"text": "x"} if kind == "update" else {}
    other_project = fresh()
    other_project.project = "other"
    for state in (MemoryState("m"), other_project):
        with pytest.raises(MemoryNotFoundError):
            apply(state, op(kind, 200, **more))


def test_what_has_expired_is_gone_until_it_is_restored():
    expired = fresh(expires_at=iso(NOW - 1))
    for kind, more in (("update", {"text": "x"}), ("delete", {})):
        with pytest.raises(MemoryNotFoundError):
            apply(expired, op(kind, 200, **more))
    restored = apply(expired, op("restore", 300))
    assert (restored.event, restored.after.expires_at, restored.after.is_deleted) == (Event.RESTORE, "", False)


def test_what_has_expired_is_hidden_by_the_sweep_once():
    expired = fresh(expires_at=iso(NOW - 1))
    swept = apply(expired, op("expire", 300))
    assert (swept.event, swept.after.is_deleted, swept.after.write_times.deleted) == (Event.EXPIRE, True, 300)
    assert apply(swept.after, op("expire", 400)) is None, "nothing to do, and nothing to record"
    assert apply(fresh(), op("expire", 300)) is None


def test_merged_metadata_over_the_limit_is_refused():
    with pytest.raises(ValidationError, match="merged metadata"):
        apply(fresh(metadata={"a": "x" * 50}), op("update", 200, metadata={"b": "y" * 50}), metadata_limit=100)


def test_an_operation_that_changes_no_memory_is_refused():
    with pytest.raises(ValidationError):
        apply(fresh(), op("embed", 200, space="local-64"))


def test_write_times_survive_their_json():
    write_times = WriteTimes(1, 2, 3, {"k": 4})
    assert WriteTimes.from_json(write_times.to_json()) == write_times
    assert WriteTimes.from_json("") == WriteTimes()


_patches = st.builds(
    dict,
    text=st.none() | st.sampled_from(["one", "two", "three"]),
    metadata=st.none() | st.dictionaries(st.sampled_from("abc"), st.none() | st.integers(0, 3), max_size=3),
).filter(lambda patch: patch["text"] is not None or patch["metadata"] is not None)


@given(st.lists(_patches, min_size=1, max_size=7), st.data())
def test_any_order_of_arrival_ends_like_the_order_of_submission(patches, data):
    """The promise of newest-submission-wins, over all interleavings hypothesis finds."""
    operations = [op("update", 1_000 + number, **patch) for number, patch in enumerate(patches)]
    arrival = data.draw(st.permutations(operations))
    changes = _run(operations), _run(arrival)
    ends = [history[-1].after for history in changes]
    assert ends[0].memory == ends[1].memory
    assert ends[0].metadata == ends[1].metadata
    for history in changes:
        assert [change.after.version for change in history] == list(range(2, len(history) + 2))
        applied = [change for change in history if change.event is not Event.SUPERSEDED]
        if applied:
            assert pairs(applied[-1])["new_memory"] == history[-1].after.memory


def _run(operations: list[Operation]) -> list[Change]:
    state, history = fresh(), []
    for operation in operations:
        history.append(apply(state, operation))
        state = history[-1].after
    return history


@pytest.mark.parametrize("value", [True, 1.0, {"of": True}])
def test_a_value_that_only_python_takes_for_the_same_is_a_change_in_history_and_hash(value):
    before = fresh(metadata={"flag": {"of": 1} if isinstance(value, dict) else 1})
    assert before.metadata == {"flag": value}, "or the test shows nothing"
    change = apply(before, op("update", 200, metadata={"flag": value}))
    entry = pairs(change)
    assert entry["new_metadata"] == metadata_json({"flag": value}) != metadata_json(before.metadata)
    fields, _ = hash_fields(before, change.after, 0)
    assert dict(zip(fields[::2], fields[1::2], strict=True))["metadata"] == entry["new_metadata"]
