"""The public methods keep their parameters: names, order, kinds and defaults are what callers wrote down."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from emendo_client import Job, MemoryClient
from emendo_client._sync.batch import BatchWriter
from emendo_client.requests import batch_items
from emendo_client.requests.operations import OperationBuilder

RECORDED = Path(__file__).with_name("public_signatures.txt")


def public_signatures() -> list[str]:
    """One line for each public method, such as `Job.status(self) -> 'JobStatus'`."""
    return [
        f"{kind.__name__}.{name}{inspect.signature(method)}"
        for kind in (MemoryClient, Job, BatchWriter)
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_") or (kind, name) == (MemoryClient, "__init__")
    ]


def test_every_public_method_has_the_recorded_signature():
    assert public_signatures() == RECORDED.read_text(encoding="utf-8").splitlines()


def parameters(method) -> dict[str, tuple[object, object]]:
    """The type and the default of each parameter, as written."""
    given = inspect.signature(method).parameters.values()
    return {one.name: (one.annotation, one.default) for one in given if one.name != "self"}


OF_A_JOB = {"idempotency_key": ("str | None", None), "consistency": ("str", "eventual")}


@pytest.mark.parametrize("name", ["add", "update", "delete", "restore", "resolve_conflict"])
def test_a_write_has_the_parameters_of_its_operation_and_those_of_a_job(name):
    declared = parameters(getattr(OperationBuilder, name))
    assert parameters(getattr(MemoryClient, name)) == declared | OF_A_JOB


@pytest.mark.parametrize(("name", "left_out"), [("add", {"infer", "dry_run"}), ("update", set()), ("delete", set())])
def test_a_batch_writer_has_the_parameters_of_the_operation(name, left_out):
    declared = parameters(getattr(OperationBuilder, name))
    assert declared.keys() - left_out == parameters(getattr(BatchWriter, name)).keys()
    assert parameters(getattr(BatchWriter, name)).items() <= declared.items()


def test_the_fields_of_batch_items_are_the_documented_ones():
    updates = ("memory_id", "text", "metadata", "actor_id", "role", "expected_version", "on_conflict")
    assert updates == batch_items.UPDATE_FIELDS
    assert batch_items.DELETE_FIELDS == ("memory_id", "hard", "actor_id", "expected_version")
    assert batch_items.ADD_FIELDS == ("messages", "user_id", "agent_id", "run_id", "metadata", "expires_at")
