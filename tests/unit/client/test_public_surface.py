"""The names that users import: sorted, complete, cheap; the async client is the sync one's twin."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import subprocess
import sys

import pydantic
import pytest

import emendo_client
from emendo_client import errors
from emendo_client._async.batch import AsyncBatchWriter
from emendo_client._async.client import AsyncMemoryClient
from emendo_client._async.job import AsyncJob
from emendo_client._sync.batch import BatchWriter
from emendo_client._sync.client import MemoryClient
from emendo_client._sync.job import Job
from emendo_client.errors import EmendoError, from_document
from emendo_config import ConfigurationError
from emendo_config.store.memory_fields import MEMORY_FIELDS

CLASSES = [value for name in errors.__all__ if isinstance(value := getattr(errors, name), type)]
TWINS = [(MemoryClient, AsyncMemoryClient), (Job, AsyncJob), (BatchWriter, AsyncBatchWriter)]


def test_exports_are_sorted_and_there():
    assert emendo_client.__all__ == sorted(emendo_client.__all__)
    assert all(getattr(emendo_client, name) is not None for name in emendo_client.__all__)
    assert errors.__all__ == sorted(errors.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = emendo_client.nonsense


def test_importing_the_client_loads_nothing_heavy():
    heavy = ("celery", "openai", "numpy", "redis", "redisvl")
    code = f"import sys, emendo_client; print(*(name for name in {heavy} if name in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == ""


def test_every_error_is_drawn_in_the_tree_and_comes_back_from_its_document():
    assert len(CLASSES) == len(errors.__all__)
    for kind in CLASSES:
        assert re.search(rf"\b{kind.__name__}\b", errors.__doc__)
        error = kind("what was wrong", details={"a": 1}, suggestion="do that")
        back = from_document(error.to_dict())
        assert (type(back), back.message, back.details, back.suggestion) == (kind, error.message, {"a": 1}, "do that")
        assert str(error) == "what was wrong (do that)"
        assert issubclass(kind, EmendoError)


@pytest.mark.parametrize(("plain", "awaited"), TWINS)
def test_the_async_twin_has_the_same_methods(plain, awaited):
    def public(kind: type) -> dict[str, list[str]]:
        methods = {name: value for name, value in inspect.getmembers(kind, callable) if not name.startswith("_")}
        return {name: [str(p) for p in inspect.signature(value).parameters.values()] for name, value in methods.items()}

    assert public(plain) == public(awaited)
    plain_ones = [name for name in public(awaited) if not _is_async(getattr(awaited, name))]
    assert plain_ones == []


def _is_async(method) -> bool:
    makes_a_context = "AsyncBatchWriter" in str(inspect.signature(method).return_annotation)
    return inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method) or makes_a_context


NAMES = errors.__all__


def drawn_parents() -> dict[str, set[str]]:
    """{error: its parents} as the docstring's lines draw it; four columns are one level."""
    parents: dict[str, set[str]] = {}
    path: list[str] = []
    for line in errors.__doc__.splitlines():
        words = line.lstrip("│├└─ ").split()
        if not words or not words[0].endswith("Error"):
            continue
        level = (len(line) - len(line.lstrip("│├└─ "))) // 4
        path[level:] = [words[0]]
        if level:
            parents.setdefault(words[0], set()).add(path[level - 1])
    return parents


def test_the_drawn_tree_is_the_real_one():
    classes = {name: getattr(errors, name) for name in NAMES if name != "EmendoError"}
    assert drawn_parents() == {name: {base.__name__ for base in kind.__bases__} for name, kind in classes.items()}


def test_what_is_not_found_is_no_conflict_and_a_rate_limit_no_failure_of_the_network():
    for kind in (errors.MemoryNotFoundError, errors.JobNotFoundError, errors.ConflictNotFoundError):
        assert issubclass(kind, errors.NotFoundError)
        assert not issubclass(kind, errors.ConflictError)
    assert issubclass(errors.JobNotFoundError, errors.JobError)
    for kind in (errors.NetworkError, errors.RateLimitError, errors.CircuitOpenError, errors.ThrottledError):
        assert kind.__bases__ == (errors.TransientError,)


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
    error = getattr(errors, name)("what", error_code="OWN_CODE", details={"version": 3}, suggestion="repair it")
    back = from_document(json.loads(json.dumps(error.to_dict())))
    assert type(back) is type(error)
    assert (back.message, back.error_code, back.details, back.suggestion) == (
        "what",
        "OWN_CODE",
        {"version": 3},
        "repair it",
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


@pytest.mark.parametrize(("plain", "awaited"), TWINS)
def test_twins_agree_in_names_parameters_defaults_and_what_they_return(plain, awaited):
    ours, theirs = public(plain), public(awaited)
    assert ours.keys() == theirs.keys()
    for name, signature in ours.items():
        assert list(signature.parameters.values()) == list(theirs[name].parameters.values()), name
        assert str(theirs[name].return_annotation).replace("Async", "") == str(signature.return_annotation), name


@pytest.mark.parametrize("kind", [kind for twins in TWINS for kind in twins])
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


def test_a_memory_has_the_published_fields_and_each_that_is_stored_for_callers():
    published = "id memory user_id agent_id run_id actor_id role metadata hash version created_at updated_at expires_at"
    fields = emendo_client.Memory.model_fields.keys()
    assert fields >= {*published.split(), "is_deleted", "embedding_model"}
    assert fields == set(MEMORY_FIELDS) - {"project"}


def test_models_are_frozen():
    page = emendo_client.Page(results=[], total=21, page=2, page_size=10)
    assert page.has_next is True
    assert emendo_client.Page(results=[], total=20, page=2, page_size=10).has_next is False
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        page.total = 3


def test_exactly_four_states_are_final():
    final = {"succeeded", "partially_succeeded", "failed", "cancelled"}
    assert {status.value for status in emendo_client.JobStatus if status.is_final} == final
    assert {status.value for status in emendo_client.JobStatus} - final == {"queued", "running", "retrying"}
