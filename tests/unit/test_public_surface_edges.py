"""Corners of the public surface: the drawn error tree is the real one; twins match to the annotation."""

from __future__ import annotations

import importlib
import inspect
import json

import pydantic
import pytest

import emendo_client
from emendo_client import errors
from emendo_client.aio import AsyncMemoryClient
from emendo_client.aio_job import AsyncJob
from emendo_client.client import MemoryClient
from emendo_client.errors import EmendoError, from_document
from emendo_client.job import Job
from emendo_config import ConfigurationError

NAMES = errors.__all__


def drawn_parents() -> dict[str, str]:
    """{error: its parent} as the docstring's lines draw it; four columns are one level."""
    parents, path = {}, []
    for line in errors.__doc__.splitlines():
        words = line.lstrip("│├└─ ").split()
        if not words or not words[0].endswith("Error"):
            continue
        level = (len(line) - len(line.lstrip("│├└─ "))) // 4
        path[level:] = [words[0]]
        if level:
            parents[words[0]] = path[level - 1]
    return parents


def test_the_drawn_tree_is_the_real_one():
    real = {name: getattr(errors, name).__base__.__name__ for name in NAMES if name != "EmendoError"}
    assert drawn_parents() == real


def test_every_error_of_the_module_is_exported():
    found = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, EmendoError)}
    assert found == set(NAMES)
    assert errors.ConfigurationError is ConfigurationError


def test_every_error_has_a_code_of_its_own():
    codes = [getattr(errors, name).code for name in NAMES]
    assert len(set(codes)) == len(codes)
    assert all(code == code.upper() for code in codes)


@pytest.mark.parametrize("name", NAMES)
def test_an_error_survives_its_document_as_json(name):
    error = getattr(errors, name)("what", error_code="OWN_CODE", details={"version": 3}, suggestion="mend it")
    back = from_document(json.loads(json.dumps(error.to_dict())))
    assert type(back) is type(error)
    assert (back.message, back.error_code, back.details, back.suggestion) == (
        "what",
        "OWN_CODE",
        {"version": 3},
        "mend it",
    )
    plain = getattr(errors, name)("what")
    assert from_document(plain.to_dict()).error_code == plain.code
    assert plain.to_dict().keys() == {"type", "code", "message"}


@pytest.mark.parametrize("name", ["RateLimitError", "QuotaExceededError"])
def test_the_pause_of_a_rate_limit_survives_its_document(name):
    assert from_document(getattr(errors, name)("slow", retry_after=3.0).to_dict()).retry_after == 3.0


@pytest.mark.parametrize("document", [{}, {"type": "NoSuchError"}, {"type": "dict"}, {"type": None, "message": None}])
def test_an_unknown_document_is_still_an_error(document):
    assert type(from_document(document)) is EmendoError


def test_debug_info_stays_out_of_records():
    assert "trace" not in str(EmendoError("what", debug_info={"trace": "trace"}).to_dict())


# The twins.


def public(kind: type) -> dict[str, inspect.Signature]:
    return {name: inspect.signature(value) for name, value in inspect.getmembers(kind, callable) if name[0] != "_"}


@pytest.mark.parametrize(("plain", "awaited"), [(MemoryClient, AsyncMemoryClient), (Job, AsyncJob)])
def test_twins_agree_in_names_parameters_defaults_and_what_they_return(plain, awaited):
    ours, theirs = public(plain), public(awaited)
    assert ours.keys() == theirs.keys()
    for name, signature in ours.items():
        assert list(signature.parameters.values()) == list(theirs[name].parameters.values()), name
        assert str(theirs[name].return_annotation).replace("Async", "") == str(signature.return_annotation), name


@pytest.mark.parametrize("kind", [MemoryClient, AsyncMemoryClient, Job, AsyncJob])
def test_every_public_method_says_what_it_does(kind):
    assert [name for name in public(kind) if not inspect.getdoc(getattr(kind, name))] == []


def test_the_constructors_of_the_twins_agree():
    assert inspect.signature(MemoryClient) == inspect.signature(AsyncMemoryClient)


@pytest.mark.parametrize(
    "name", ["add", "update", "delete", "restore", "job", "jobs", "get", "get_all", "search", "history", "health",
             "diagnose", "dead_letters", "dead_letter", "replay", "replay_all", "discard", "discard_all"],
)  # fmt: skip
def test_the_client_has_the_documented_methods(name):
    assert inspect.isfunction(getattr(MemoryClient, name))
    assert inspect.iscoroutinefunction(getattr(AsyncMemoryClient, name))


# The package.


def test_what_the_package_lists_is_what_it_has():
    assert dir(emendo_client) == emendo_client.__all__
    assert len(set(emendo_client.__all__)) == len(emendo_client.__all__)
    for name in emendo_client.__all__:
        value = getattr(emendo_client, name)
        assert value is getattr(importlib.import_module(value.__module__), value.__name__)
        assert value.__name__ == name


def test_models_are_frozen_and_have_the_documented_fields():
    fields = "id memory user_id agent_id run_id actor_id role metadata hash version created_at updated_at expires_at"
    assert list(emendo_client.Memory.model_fields) == [*fields.split(), "is_deleted", "embedding_model"]
    page = emendo_client.Page(results=[], total=21, page=2, page_size=10)
    assert page.has_next is True
    assert emendo_client.Page(results=[], total=20, page=2, page_size=10).has_next is False
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        page.total = 3


def test_exactly_four_states_are_final():
    final = {"succeeded", "partially_succeeded", "failed", "cancelled"}
    assert {status.value for status in emendo_client.JobStatus if status.is_final} == final
    assert {status.value for status in emendo_client.JobStatus} - final == {"queued", "running", "retrying"}
