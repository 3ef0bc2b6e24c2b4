"""A decision's records, reads and refusals: history entries, limits, other projects, the moment of expiry."""

from __future__ import annotations

import dataclasses
import json

import pytest

from emendo_client.errors import MemoryNotFoundError, ValidationError
from emendo_client.records.derived_fields import text_hash
from emendo_client.records.history import history_entry
from emendo_client.times import iso
from emendo_config.store.memory_fields import STATE_FIELDS
from emendo_config.store.scripts import Started
from emendo_workers.jobs.operations import Delete, Update
from emendo_workers.jobs.work import Entry, parse_work
from emendo_workers.memories.state import MemoryState, WriteTimes, metadata_json, parse_state
from tests.support.deciding import BORN, NOW, TEXT, apply, entry, fresh, op

# Missing memories.


@pytest.mark.parametrize("kind", ["update", "delete", "restore"])
@pytest.mark.parametrize("more", [{"expected_version": 99}, {}])
def test_another_projects_memory_says_no_more_than_a_missing_one(kind, more):
    messages = []
    for state in (fresh(), MemoryState("m")):
        with pytest.raises(MemoryNotFoundError) as refused:
            apply(state, op(kind, 2_000, project="other", **TEXT.get(kind, {}), **more))
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


# Recording.


def test_an_update_is_recorded_field_by_field():
    state = fresh(metadata={"a": 1}, actor_id="ana", role="user")
    change = apply(state, op("update", 2_000, text="neu ü", metadata={"a": None}, actor_id="bob", role="assistant"))
    assert entry(change) == {
        "version": "2",
        "event": "UPDATE",
        "new_memory": "neu ü",
        "new_metadata": "{}",
        "created_at": iso(BORN),
        "updated_at": iso(2_000),
        "is_deleted": "0",
        "actor_id": "bob",
        "role": "assistant",
        "job_id": "job-2000",
        "previous_hash": text_hash("born"),
    }
    assert (change.after.actor_id, change.after.role) == ("ana", "user")  # the author of the memory stays


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
    assert (late["new_memory"], late["actor_id"]) == ("newer", "bob")


@pytest.mark.parametrize("kind", ["add", "update", "delete", "restore"])
def test_every_entry_is_one_the_client_can_read(kind):
    state = MemoryState("m") if kind == "add" else fresh()
    change = apply(state, op(kind, 2_000, **TEXT.get(kind, {})))
    read = history_entry("m", b"1-0", {name.encode(): value.encode() for name, value in entry(change).items()})
    assert (read.event, read.version, read.job_id) == (change.event, change.after.version, "job-2000")
    assert read.is_deleted is (kind == "delete")


def test_a_result_names_the_change_and_holds_no_text():
    change = apply(fresh(), op("update", 2_000, text="new"))
    assert change.result() == {"memory_id": "m", "event": "UPDATE", "version": 2, "error": None}


# Reading.


def test_a_state_is_read_from_the_fields_of_its_hash():
    values = dict.fromkeys(STATE_FIELDS)
    assert parse_state("m", list(values.values())) == MemoryState("m")
    times = WriteTimes(1, 2, 3, {"ü": 4})
    values.update(project=b"p", memory="ü".encode(), metadata=b'{"a":1}', version=b"3", is_deleted=b"1")
    values.update(stamps=times.to_json().encode())
    state = parse_state("m", list(values.values()))
    assert state == MemoryState(
        "m", project="p", memory="ü", metadata={"a": 1}, version=3, is_deleted=True, write_times=times
    )


def test_a_job_is_read_with_its_submission_time_on_every_operation():
    payload = json.dumps(
        {"operations": [{"op": "update", "memory_id": "m", "text": "x"}, {"op": "delete", "memory_id": "n"}]}
    )
    work = parse_work(
        Entry("inbox", "1-0", "j"), Started(b"update", b"p", payload.encode(), 2, b"77", None, None, None)
    )
    assert (work.kind, work.project, work.attempts, work.submitted) == ("update", "p", 2, 77)
    assert work.operations == [
        Update("j", "p", 77, "m", text="x"),
        Delete("j", "p", 77, "n"),
    ]


def test_a_copied_state_has_every_field():
    state = MemoryState("m")
    given = {str: "given", int: 7, bool: True, dict: {"a": 1}, WriteTimes: WriteTimes(1, 2, 3, {"a": 4})}
    for field in dataclasses.fields(state):
        if field.compare:
            setattr(state, field.name, given[type(getattr(state, field.name))])
    assert state.copy() == state
