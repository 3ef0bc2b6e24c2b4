"""Payloads of every kind of operation, and of kinds this worker does not know."""

from __future__ import annotations

import json

import pytest

from emendo_client.requests.operations import OperationBuilder
from emendo_config import Settings
from emendo_workers.jobs.operations import (
    OPERATIONS,
    Add,
    Delete,
    Infer,
    Invalid,
    Noop,
    Operation,
    PendingDelete,
    Resolve,
    Restore,
    Update,
    parse_operation,
)
from emendo_workers.jobs.work import Entry, Work, parse_work

BUILD = OperationBuilder(Settings())


def parsed(document: dict) -> Operation:
    return parse_operation({"job_id": "j", "project": "p", "submitted": 7, "item": 3, "strong": True, **document})


def work_of(record_id: str = "j", **payload) -> Work:
    values = [b"update", b"p", json.dumps(payload).encode(), b"1", b"70", None, None, None]
    return parse_work(Entry("inbox", "1-0", record_id), values)


@pytest.mark.parametrize(
    ("documents", "kind"),
    [
        (BUILD.add("I sing", user_id="ana", metadata={"a": 1}, infer=False), Add),
        (BUILD.update("m", text="x", actor_id="ben", expected_version=2, on_conflict="merge"), Update),
        (BUILD.delete("m", hard=True), Delete),
        (BUILD.restore("m", version=1, actor_id="ben"), Restore),
        (BUILD.resolve_conflict("m:j", "merged", text="x", metadata={"a": None}), Resolve),
        (BUILD.add("I sing", user_id="ana", dry_run=True), Infer),
    ],
    ids=lambda each: each.__name__ if isinstance(each, type) else None,
)
def test_what_the_client_writes_is_read_with_every_field(documents, kind):
    (document,) = documents
    operation = parsed(document)
    assert type(operation) is kind
    assert (operation.job_id, operation.project, operation.submitted) == ("j", "p", 7)
    assert (operation.item, operation.strong, operation.applied_id) == (3, True, "j:3")
    assert {name: getattr(operation, name) for name in document if name != "op"} == {
        name: value for name, value in document.items() if name != "op"
    }


@pytest.mark.parametrize(("name", "kind"), [("hold", PendingDelete), ("none", Noop), ("add", Add), ("update", Update)])
def test_a_planned_operation_has_its_own_submission_time_and_says_why(name, kind):
    why = {"decision": "DELETE", "reason": "she says so", "source": "I moved out.", "prompt": "decide-1", "fact": "x"}
    operation = parsed({"op": name, "memory_id": "m", "submitted": 99, "user_id": "ana", "metadata": {}, **why})
    assert type(operation) is kind
    assert (operation.submitted, operation.decision, operation.reason) == (99, "DELETE", "she says so")


@pytest.mark.parametrize(
    "document",
    [
        {"op": "teleport", "memory_id": "m"},
        {"op": ["update"], "memory_id": "m"},
        {"memory_id": "m", "text": "x"},
        {"op": "resolve", "memory_id": "m", "choice": "ours"},
    ],
    ids=["kind", "no_kind_at_all", "kind_missing", "field_missing"],
)
def test_an_unreadable_operation_becomes_invalid_alone(document):
    readable = {"op": "update", "memory_id": "n", "text": "x"}
    invalid, other = work_of(operations=[document, readable]).operations
    assert isinstance(invalid, Invalid)
    assert (invalid.memory_id, invalid.error["code"]) == ("m", "PAYLOAD_UNREADABLE")
    assert other == Update("j", "p", 70, "n", text="x")


@pytest.mark.parametrize(
    "more", [{"colour": "red"}, {"hard": True}, {"": None}], ids=["unknown", "other kind's", "no name"]
)
def test_fields_that_a_kind_does_not_have_are_left_out(more):
    document = {"op": "update", "memory_id": "m", "text": "x", **more}
    work = work_of(operations=[document])
    assert work.operations == [Update("j", "p", 70, "m", text="x")]
    assert work.documents == [document], "what is written again has them"


def test_a_chunks_operations_have_their_places_and_times_in_the_batch():
    work = work_of("j:2", first=40, operations=[{"op": "expire", "memory_id": each} for each in "ab"])
    assert [(each.item, each.submitted, each.applied_id) for each in work.operations] == [
        (40, 70, "j:40"),
        (41, 71, "j:41"),
    ]
    assert (work.job_id, work.is_chunk, work.is_inferred) == ("j", True, False)


@pytest.mark.parametrize(("record_id", "items"), [("j", [0, 1]), ("j:2", ["2.0", "2.1"])])
def test_planned_operations_are_numbered_within_their_plan(record_id, items):
    documents = [{"op": "none", "memory_id": each, "submitted": 99} for each in "ab"]
    work = work_of(record_id, planned=True, operations=documents)
    assert [each.item for each in work.operations] == items
    assert (work.is_planned, work.is_inferred) == (True, True)


def test_every_kind_has_its_own_class():
    assert len(set(OPERATIONS.values())) == len(OPERATIONS)
