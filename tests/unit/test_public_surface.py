"""What users import: sorted, complete, cheap; the async client is the sync one's twin."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys

import pytest

import emendo_client
from emendo_client import errors
from emendo_client.aio import AsyncMemoryClient
from emendo_client.aio_job import AsyncJob
from emendo_client.client import MemoryClient
from emendo_client.errors import EmendoError, from_document
from emendo_client.job import Job

CLASSES = [value for name in errors.__all__ if isinstance(value := getattr(errors, name), type)]


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


@pytest.mark.parametrize(("plain", "awaited"), [(MemoryClient, AsyncMemoryClient), (Job, AsyncJob)])
def test_the_async_twin_has_the_same_methods(plain, awaited):
    def public(kind: type) -> dict[str, list[str]]:
        methods = {name: value for name, value in inspect.getmembers(kind, callable) if not name.startswith("_")}
        return {name: [str(p) for p in inspect.signature(value).parameters.values()] for name, value in methods.items()}

    assert public(plain) == public(awaited)
    plain_ones = [name for name in public(awaited) if not _is_async(getattr(awaited, name))]
    assert plain_ones == []


def _is_async(method) -> bool:
    makes_a_context = "AsyncCollector" in str(inspect.signature(method).return_annotation)
    return inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method) or makes_a_context
