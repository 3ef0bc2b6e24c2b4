"""Decisions under `merge` and `manual`, and what a person decides of what waited."""

from __future__ import annotations

import copy

import pytest

from emendo_client.errors import ConflictError, ConflictNotFoundError, MemoryNotFoundError, ValidationError
from emendo_client.models import Event
from emendo_client.times import iso
from emendo_workers.jobs.operations import OPERATIONS, Operation
from emendo_workers.memories.decide import Change, apply_operation, base_version
from emendo_workers.memories.state import MemoryState, Snapshot
from emendo_workers.memories.three_way_merge import MergedTexts, NeedsMerge
from emendo_workers.providers.merge_prompt import Texts

NOW = 1_800_000_000_000_000
MODES = ("merge", "manual")


def op(kind: str, submitted: int, **more) -> Operation:
    return OPERATIONS[kind](f"job-{submitted}", "p", submitted, "m", **more)


def apply(state: MemoryState, operation: Operation, **more) -> Change:
    before = copy.deepcopy(state)
    try:
        return apply_operation(state, operation, **{"snapshot": None, "now": NOW, "metadata_limit": 16_384, **more})
    finally:
        assert state == before, "the input state was changed"


def fresh(**more) -> MemoryState:
    return apply(MemoryState("m"), op("add", 100, text="base", user_id="ana", **more)).after


BASE = Snapshot("base", {"k": 1})


def changed_meanwhile() -> MemoryState:
    """Version 2, submitted at 300."""
    return apply(fresh(metadata={"k": 1}), op("update", 300, text="theirs", metadata={"k": 2}, actor_id="ana")).after


def pairs(change: Change) -> dict[str, str]:
    flat = change.history_fields()
    return dict(zip(flat[::2], flat[1::2], strict=True))


# Which base.


@pytest.mark.parametrize("mode", MODES)
def test_an_update_nobody_was_faster_than_needs_no_base(mode):
    for more in ({}, {"expected_version": 2}):
        operation = op("update", 400, text="ours", on_conflict=mode, **more)
        assert base_version(changed_meanwhile(), operation) is None
        assert apply(changed_meanwhile(), operation).after.memory == "ours"


@pytest.mark.parametrize("mode", MODES)
def test_the_base_is_the_expected_version_or_what_stood_when_it_was_submitted(mode):
    state = changed_meanwhile()
    assert base_version(state, op("update", 400, text="x", on_conflict=mode, expected_version=1)) == 1
    assert base_version(state, op("update", 200, text="x", on_conflict=mode)) == 0
    assert base_version(state, op("update", 200, text="x", on_conflict=mode, expected_version=2)) == 0


@pytest.mark.parametrize("mode", ["last_write_wins", "reject"])
def test_other_modes_and_other_operations_have_no_base(mode):
    assert base_version(changed_meanwhile(), op("update", 200, text="x", on_conflict=mode)) is None
    assert base_version(changed_meanwhile(), op("delete", 200, expected_version=1)) is None


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("version", [9, 2_000_000])
def test_a_version_that_never_was_is_a_conflict_and_changes_nothing(mode, version):
    with pytest.raises(ConflictError) as refused:
        apply(changed_meanwhile(), op("update", 400, text="ours", on_conflict=mode, expected_version=version))
    assert refused.value.error_code == "VERSION_MISMATCH"
    assert refused.value.details == {"expected_version": version, "current_version": 2}


@pytest.mark.parametrize("mode", MODES)
def test_a_late_arrival_whose_base_is_gone_is_superseded_and_says_no_version_it_was_not_given(mode):
    with pytest.raises(ConflictError) as refused:
        apply(changed_meanwhile(), op("update", 200, text="ours", on_conflict=mode))
    assert (refused.value.error_code, refused.value.details) == ("SUPERSEDED", {"current_version": 2})


# Merging.


def test_a_late_text_is_merged_and_recorded_as_an_update_of_its_own_author():
    late = op("update", 200, text="ours", on_conflict="merge", actor_id="bob")
    with pytest.raises(NeedsMerge):
        apply(changed_meanwhile(), late, snapshot=BASE, merged_texts=MergedTexts())
    merges = MergedTexts({Texts("base", "theirs", "ours"): "both"})
    change = apply(changed_meanwhile(), late, snapshot=BASE, merged_texts=merges)
    assert (change.event, change.after.memory, change.after.version) == (Event.UPDATE, "both", 3)
    assert (change.conflict, change.after.write_times.text, change.after.updated_at) == (None, 300, iso(300))
    entry = pairs(change)
    assert (change.before.memory, entry["new_memory"], entry["actor_id"]) == ("theirs", "both", "bob")


def test_a_newer_submission_on_an_older_version_is_merged_and_sets_the_write_time():
    merges = MergedTexts({Texts("base", "theirs", "ours"): "both"})
    operation = op("update", 400, text="ours", metadata={"k": 3}, on_conflict="merge", expected_version=1)
    change = apply(changed_meanwhile(), operation, snapshot=BASE, merged_texts=merges)
    assert (change.after.memory, change.after.metadata) == ("both", {"k": 3})
    assert (change.after.write_times.text, change.after.write_times.of_key("k")) == (400, 400)


@pytest.mark.parametrize("mode", MODES)
def test_changes_of_different_fields_go_together_and_ask_nobody(mode):
    state = apply(fresh(metadata={"k": 1}), op("update", 300, metadata={"k": 2})).after
    operation = op("update", 400, text="ours", metadata={"mine": 1}, on_conflict=mode, expected_version=1)
    change = apply(state, operation, snapshot=BASE, merged_texts=MergedTexts())
    assert (change.after.memory, change.after.metadata) == ("ours", {"k": 2, "mine": 1})
    assert (change.event, change.conflict) == (Event.UPDATE, None)


def test_an_update_of_which_nothing_remains_is_superseded():
    operation = op("update", 200, metadata={"k": 3}, on_conflict="merge")
    change = apply(changed_meanwhile(), operation, snapshot=BASE)
    assert (change.event, change.after.metadata, change.conflict) == (Event.SUPERSEDED, {"k": 2}, None)
    assert (change.after.version, change.after.updated_at) == (3, iso(300))


def test_merged_metadata_keeps_its_limit():
    operation = op("update", 400, metadata={"k": "x" * 100}, on_conflict="merge", expected_version=1)
    with pytest.raises(ValidationError, match="merged metadata"):
        apply(changed_meanwhile(), operation, snapshot=BASE, metadata_limit=50)


# Manual.


def test_what_is_in_dispute_waits_and_the_rest_applies():
    operation = op("update", 400, text="ours", metadata={"k": 3, "mine": 1}, on_conflict="manual", expected_version=1)
    change = apply(changed_meanwhile(), operation, snapshot=BASE)
    assert (change.event, change.after.memory, change.after.metadata) == (Event.UPDATE, "theirs", {"k": 2, "mine": 1})
    assert (change.conflict["memory"], change.conflict["metadata"]) == ("ours", {"k": 3})
    assert change.result()["conflict_id"] == "m:job-400"
    assert "ours" not in str(change.result())


def test_a_submission_that_waits_whole_is_recorded_as_superseded():
    change = apply(changed_meanwhile(), op("update", 200, text="ours", on_conflict="manual"), snapshot=BASE)
    assert (change.event, change.after.memory, change.after.version) == (Event.SUPERSEDED, "theirs", 3)
    assert change.conflict["base_memory"] == "base"


def test_several_operations_of_one_batch_are_decided_one_upon_the_other():
    """Two late texts: the second one's question is about what the first merge left."""
    merges = MergedTexts({Texts("base", "theirs", "one"): "theirs and one"})
    first = apply(
        changed_meanwhile(), op("update", 200, text="one", on_conflict="merge"), snapshot=BASE, merged_texts=merges
    )
    with pytest.raises(NeedsMerge) as question:
        apply(first.after, op("update", 250, text="two", on_conflict="merge"), snapshot=BASE, merged_texts=merges)
    assert question.value.texts == Texts("base", "theirs and one", "two")
    waiting = apply(
        first.after, op("update", 260, text="three", on_conflict="manual"), snapshot=BASE, merged_texts=merges
    )
    assert (waiting.after.version, waiting.after.memory) == (4, "theirs and one")


# Memories that are not there.


@pytest.mark.parametrize("mode", MODES)
def test_no_merge_brings_a_deleted_memory_back(mode):
    deleted = apply(changed_meanwhile(), op("delete", 400)).after
    with pytest.raises(MemoryNotFoundError):
        apply(deleted, op("update", 500, text="x", on_conflict=mode, expected_version=1), snapshot=BASE)
    late = apply(deleted, op("update", 350, text="late", on_conflict=mode))
    assert (late.event, late.after.memory, late.after.is_deleted) == (Event.UPDATE, "late", True)
    contested = apply(deleted, op("update", 200, metadata={"k": 3}, on_conflict=mode), snapshot=BASE)
    assert (contested.after.is_deleted, contested.after.metadata) == (True, {"k": 2})


@pytest.mark.parametrize("mode", MODES)
def test_an_expired_an_erased_and_a_foreign_memory_are_not_merged_into(mode):
    operation = op("update", 400, text="x", on_conflict=mode, expected_version=1)
    expired = fresh(expires_at=iso(NOW - 1))
    erased = apply(changed_meanwhile(), op("delete", 350, hard=True)).after
    foreign = changed_meanwhile()
    foreign.project = "other"
    for state in (expired, erased, foreign, MemoryState("m")):
        with pytest.raises(MemoryNotFoundError):
            apply(state, operation, snapshot=BASE)


# A person decides.

PENDING = {"memory": "ours", "metadata": {"k": 3, "gone": None}}


def resolve(state: MemoryState, choice: str, submitted: int = 500, **more) -> Change:
    pending = more.pop("pending", PENDING)
    operation = op("resolve", submitted, conflict="job-200", choice=choice, actor_id="settle", **more)
    return apply(state, operation, pending=pending)


@pytest.mark.parametrize(
    ("choice", "more", "event", "text", "metadata"),
    [
        ("ours", {}, Event.UPDATE, "ours", {"k": 3}),
        ("theirs", {}, Event.SUPERSEDED, "theirs", {"k": 2, "gone": 1}),
        ("merged", {"text": "both"}, Event.UPDATE, "both", {"k": 2, "gone": 1}),
        ("merged", {"metadata": {"k": 9}}, Event.UPDATE, "theirs", {"k": 9, "gone": 1}),
    ],
)
def test_a_decision_is_recorded_with_the_person_as_its_actor(choice, more, event, text, metadata):
    state = changed_meanwhile()
    state.metadata["gone"] = 1
    change = resolve(state, choice, **more)
    assert (change.event, change.after.memory, change.after.metadata) == (event, text, metadata)
    assert (change.after.version, change.resolved) == (3, "job-200")
    assert change.result()["resolved"] == "m:job-200"
    entry = pairs(change)
    assert (entry["actor_id"], entry["job_id"], entry["event"]) == ("settle", "job-500", event.value)


@pytest.mark.parametrize("choice", ["ours", "theirs", "merged"])
def test_what_does_not_wait_cannot_be_decided(choice):
    more = {"text": "x"} if choice == "merged" else {}
    with pytest.raises(ConflictNotFoundError) as refused:
        resolve(changed_meanwhile(), choice, pending=None, **more)
    assert (refused.value.error_code, refused.value.details) == ("NO_SUCH_CONFLICT", {"conflict_id": "m:job-200"})


def test_a_decision_on_a_version_that_is_no_more_is_refused():
    with pytest.raises(ConflictError) as refused:
        resolve(changed_meanwhile(), "ours", expected_version=1)
    assert refused.value.error_code == "VERSION_MISMATCH"


def test_a_decision_that_arrives_late_does_not_undo_newer_submissions():
    state = apply(changed_meanwhile(), op("update", 600, text="newest")).after
    change = resolve(state, "ours")
    assert (change.after.memory, change.after.metadata, change.resolved) == ("newest", {"k": 3}, "job-200")


def test_of_what_is_gone_only_leaving_it_can_be_decided():
    deleted = apply(changed_meanwhile(), op("delete", 400)).after
    expired = changed_meanwhile()
    expired.expires_at = iso(NOW - 1)
    for state in (deleted, expired):
        with pytest.raises(MemoryNotFoundError):
            resolve(state, "ours")
        assert resolve(state, "theirs").resolved == "job-200"
    erased = apply(changed_meanwhile(), op("delete", 400, hard=True)).after
    with pytest.raises(MemoryNotFoundError) as refused:
        resolve(erased, "theirs")
    assert refused.value.error_code == "MEMORY_ERASED"


# Deletes that wait.

WHY = {"reason": "she says so", "source": "I have moved out.", "prompt": "decide-1"}


def hold(submitted: int = 400, **more) -> Operation:
    return op("hold", submitted, **{"expected_version": 2, **WHY, **more})


def held(choice: str = "ours", state: MemoryState | None = None, **more) -> Change:
    """The decision on a held delete of the memory at version 2."""
    pending = apply(changed_meanwhile(), hold()).conflict
    return resolve(state or changed_meanwhile(), choice, pending=pending, **more)


def test_a_pending_delete_changes_nothing_but_the_version_and_waits():
    state = changed_meanwhile()
    change = apply(state, hold())
    assert change.event is Event.SUPERSEDED
    assert (change.after.snapshot, change.after.is_deleted) == (state.snapshot, False)
    assert (change.after.version, change.after.write_times, change.after.updated_at) == (
        3,
        state.write_times,
        state.updated_at,
    )
    assert change.result()["conflict_id"] == "m:job-400"
    assert change.conflict == {
        "op": "delete",
        "job_id": "job-400",
        "submitted": 400,
        "expected_version": 2,
        "version": 2,
        "base_memory": "theirs",
        **WHY,
    }
    assert "theirs" not in str(change.result())


def test_a_delete_that_waits_already_is_not_held_again():
    first = apply(changed_meanwhile(), hold())
    again = hold(450, expected_version=3)
    more = {"snapshot": None, "now": NOW, "metadata_limit": 16_384}
    assert apply_operation(first.after, again, pending=first.conflict, **more) is None


def test_a_pending_delete_is_of_the_version_it_was_decided_on():
    with pytest.raises(ConflictError) as refused:
        apply(changed_meanwhile(), hold(expected_version=1))
    assert refused.value.error_code == "VERSION_MISMATCH"


def test_there_is_nothing_to_hold_of_what_is_gone():
    expired = changed_meanwhile()
    expired.expires_at = iso(NOW - 1)
    deleted = apply(changed_meanwhile(), op("delete", 350)).after
    erased = apply(changed_meanwhile(), op("delete", 350, hard=True)).after
    for state in (MemoryState("m"), expired, deleted, erased):
        with pytest.raises(MemoryNotFoundError):
            apply(state, hold(expected_version=state.version))


def test_a_person_who_takes_a_pending_delete_deletes_the_memory_and_keeps_its_text():
    change = held()
    assert (change.event, change.after.is_deleted, change.after.memory) == (Event.DELETE, True, "theirs")
    assert (change.resolved, change.after.write_times.deleted) == ("job-200", 500)
    entry = pairs(change)
    assert (entry["event"], entry["actor_id"], entry["old_memory"], entry["job_id"]) == (
        *("DELETE", "settle", "theirs", "job-500"),
    )
    assert "new_memory" not in entry


def test_a_person_who_refuses_a_pending_delete_keeps_the_memory():
    change = held("theirs")
    assert (change.event, change.after.is_deleted, change.after.memory) == (Event.SUPERSEDED, False, "theirs")
    assert (change.resolved, pairs(change)["actor_id"]) == ("job-200", "settle")


@pytest.mark.parametrize("more", [{"text": "x"}, {"metadata": {"k": 1}}])
def test_nothing_is_merged_with_a_pending_delete(more):
    with pytest.raises(ValidationError, match="choose 'ours' to delete the memory, or 'theirs' to keep it") as refused:
        held("merged", **more)
    assert refused.value.error_code == "NOTHING_TO_MERGE"


def test_a_pending_delete_can_be_taken_of_what_is_deleted_already_but_not_of_what_has_expired():
    deleted = apply(changed_meanwhile(), op("delete", 450)).after
    assert (held(state=deleted).event, held(state=deleted).resolved) == (Event.DELETE, "job-200")
    expired = changed_meanwhile()
    expired.expires_at = iso(NOW - 1)
    with pytest.raises(MemoryNotFoundError):
        held(state=expired)
    assert held("theirs", state=expired).resolved == "job-200"


def test_a_pending_delete_that_is_taken_late_does_not_undo_a_newer_restore():
    restored = apply(apply(changed_meanwhile(), op("delete", 450)).after, op("restore", 600)).after
    change = held(state=restored)
    assert (change.event, change.after.is_deleted, change.resolved) == (Event.SUPERSEDED, False, "job-200")
