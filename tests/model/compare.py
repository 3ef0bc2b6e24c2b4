"""Compares the client's reads with the model's."""

from __future__ import annotations

import collections
import hashlib
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from emendo_client import MemoryClient
from emendo_config.spaces.registry import SpaceRecord
from emendo_config.store.pipeline import as_text
from tests.model.reference import Entry, ReferenceMemory
from tests.support.spaces import right_vector


def history(entries: Sequence[Any], model: ReferenceMemory) -> None:
    """Versions 1 to n, each saying what the model says, each beginning where the one before ended."""
    assert [entry.version for entry in entries] == list(range(1, len(model.history) + 1))
    for entry, expected in zip(entries, model.history, strict=True):
        for name in Entry.__dataclass_fields__.keys() - {"reads", "previously"}:
            assert getattr(entry, name) == getattr(expected, name), f"{name} of {entry} is not that of {expected}"
        assert entry.memory_id == model.id
        assert entry.created_at == model.created


def state(memory: Any, model: ReferenceMemory) -> None:
    """Every field of a memory as it was read."""
    assert memory.memory == model.text
    assert memory.hash == hashlib.sha256(model.text.encode()).hexdigest()
    assert memory.metadata == model.metadata
    assert (memory.version, memory.is_deleted) == (model.version, model.is_deleted)
    assert (memory.created_at, memory.updated_at) == (model.created, model.updated)
    assert (memory.id, memory.actor_id, memory.role) == (model.id, model.actor_id, model.role)
    names = ("user_id", "agent_id", "run_id")
    assert {name: getattr(memory, name) for name in names} == {**dict.fromkeys(names), **model.scope}


def listing(
    client: MemoryClient,
    expected: Mapping[str, ReferenceMemory],
    *,
    scope: Mapping[str, str],
    filters: Mapping[str, Any] | None,
    size: int,
) -> None:
    """All pages of `get_all`, by number and by cursor: each memory once, newest first. And what is counted."""
    found: list[Any] = []
    for page in itertools.count(1):
        read = client.get_all(**scope, filters=filters, page=page, page_size=size, all_users=not scope)
        assert read.total == len(expected)
        found += read.results
        if not read.has_next:
            break
    assert sorted(memory.id for memory in found) == sorted(expected)
    for memory in found:
        state(memory, expected[memory.id])
    moments = [memory.created_at for memory in found]
    assert moments == sorted(moments, reverse=True)
    by_cursor = [each.id for each in client.iter_all(**scope, filters=filters, page_size=size, all_users=not scope)]
    assert by_cursor == [memory.id for memory in sorted(found, key=lambda each: (each.created_at, each.id))[::-1]]
    assert client.count(**scope, filters=filters, all_users=not scope) == len(expected)
    if not scope and filters is None:
        users = collections.Counter(memory.user_id for memory in found if memory.user_id is not None)
        assert {owner.id: owner.memories for owner in client.users(limit=1_000).results} == users


def search(
    client: MemoryClient,
    expected: Mapping[str, ReferenceMemory],
    *,
    query: str,
    scope: Mapping[str, str],
    filters: Mapping[str, Any] | None,
) -> None:
    """All of the scope and nothing else, those with the very text of the query first."""
    hits = client.search(query, **scope, filters=filters, limit=1_000, all_users=not scope)
    assert sorted(hit.id for hit in hits) == sorted(expected)
    for hit in hits:
        state(hit, expected[hit.id])
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)
    same = sum(memory.text == query for memory in expected.values())
    assert [hit.memory for hit in hits[:same]] == [query] * same
    assert all(abs(score - 1) < 1e-5 for score in scores[:same])


def vectors(
    fields: Mapping[bytes, bytes], model: ReferenceMemory, records: Sequence[SpaceRecord], active: SpaceRecord
) -> None:
    """A vector for each space the memory lists, the active one among them, and each of its current text."""
    listed = as_text(fields[b"embedding_space"]).split(",")
    assert active.name in listed, f"{model.id} is not found by any search"
    assert {record.name for record in records}.issuperset(listed), "of a space that is gone something is left"
    stored = {as_text(name) for name in fields if name.startswith(b"vector_")}
    assert stored == {f"vector_{name}" for name in listed}
    for record in records:
        if record.name in listed:
            assert fields[record.field.encode()] == right_vector(record, model.text), f"not its text's: {record.name}"


def differences(one: dict[str, Any], other: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Where two tables disagree."""
    return {key: (one.get(key), other.get(key)) for key in one.keys() | other.keys() if one.get(key) != other.get(key)}
