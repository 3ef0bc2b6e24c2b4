"""Shared by the tests of embedding spaces: a second space, and looks at what a memory has of each."""

from __future__ import annotations

import pytest

from emendo_client.errors import EmendoError
from emendo_client.providers.embeddings.vectors import converted
from emendo_client.testing.openai_server.vectors import embed
from emendo_config.embedding_space import EmbeddingSpace
from emendo_config.spaces.indexes import create_index
from emendo_config.spaces.registry import SpaceRecord, SpaceState, save_space
from emendo_config.store.pipeline import as_text
from emendo_workers.services import Services

SMALL = SpaceRecord(EmbeddingSpace("openai", "text-embedding-3-large", 32, 2), state=SpaceState.FILLING)


def open_space(services: Services, space: SpaceRecord = SMALL) -> SpaceRecord:
    """Registers the space and makes its index, as a re-embed begins."""
    save_space(services.data, services.keys, space)
    create_index(services.data, services.keys, space)
    return space


def own_space(services: Services) -> SpaceRecord:
    return SpaceRecord(services.settings.space)


def switch(services: Services, space: SpaceRecord) -> None:
    services.data.execute_command("FT.ALIASUPDATE", services.keys.index_alias, services.keys.index(space.name))


def listed(services: Services, memory_id: str) -> list[str]:
    value = as_text(services.data.hget(services.keys.memory(memory_id), "embedding_space"))
    return value.split(",") if value else []


def right_vector(space: SpaceRecord, text: str) -> bytes:
    """The stand-in provider's vector of the text, in the space's form."""
    sent = f"{space.space.passage.prefix}{text}"
    vector = embed(sent, model=space.space.model, dimensions=space.space.dimensions)
    return converted(vector, "float32", space.datatype)


def stored_vector(services: Services, memory_id: str, space: SpaceRecord) -> bytes | None:
    return services.data.hget(services.keys.memory(memory_id), space.field)


def assert_right(services: Services, memory_id: str, *spaces: SpaceRecord) -> None:
    """The memory lists exactly these spaces, and has in each the vector of its current text; and no other vector."""
    fields = services.data.hgetall(services.keys.memory(memory_id))
    text = as_text(fields[b"memory"])
    assert listed(services, memory_id) == sorted(space.name for space in spaces)
    assert {name for name in fields if name.startswith(b"vector_")} == {space.field.encode() for space in spaces}
    for space in spaces:
        assert fields[space.field.encode()] == right_vector(space, text), space.name


def failing(monkeypatch: pytest.MonkeyPatch, services: Services, space: SpaceRecord, error: EmendoError) -> None:
    """The space's provider fails, and no other one."""
    monkeypatch.setattr(services.pipeline_of(space), "embed", lambda texts, meter=None: dict.fromkeys(texts, error))
