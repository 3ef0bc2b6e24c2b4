"""Embedding what people search for; the same question is asked of the provider once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from emendo_client.embeddings.lru import VectorLRU
from emendo_client.embeddings.vectors import converted
from emendo_client.records import text_hash
from emendo_config import Settings
from emendo_config.registry import SpaceRecord

if TYPE_CHECKING:
    from emendo_client.embeddings import Embedder


class QueryEmbedder:
    """Query texts to vectors in an embedding space; thread-safe. Embedders are made at a space's first query."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._memory = VectorLRU(settings.embedding_lru_bytes)
        self._lock = threading.Lock()
        self._made: dict[str, Embedder] = {}

    def embed(self, query: str, space: SpaceRecord) -> bytes:
        """The query's vector in the space, datatype[dimensions].

        Raises:
            EmbeddingError, NetworkError, AuthenticationError: it cannot be embedded.
            ConfigurationError: the space's provider is not installed here, or the settings do not say where it is.
        """
        known = self._known(query, space)
        vector = known or self._keep(query, space, self._embedder(space).embed([query]).vectors[0])
        return converted(vector, "float32", space.datatype)

    async def embed_async(self, query: str, space: SpaceRecord) -> bytes:
        """The same, awaited."""
        known = self._known(query, space)
        vector = known or self._keep(query, space, (await self._embedder(space).embed_async([query])).vectors[0])
        return converted(vector, "float32", space.datatype)

    def close(self) -> None:
        """Closes the embedders' connections."""
        for embedder in self._made.values():
            embedder.close()

    async def close_async(self) -> None:
        """The same, for who awaited."""
        for embedder in self._made.values():
            await embedder.close_async()

    def _known(self, query: str, space: SpaceRecord) -> bytes | None:
        key = _key(query, space)
        return self._memory.get([key]).get(key)

    def _keep(self, query: str, space: SpaceRecord, vector: bytes) -> bytes:
        self._memory.put({_key(query, space): vector})
        return vector

    def _embedder(self, space: SpaceRecord) -> Embedder:
        with self._lock:
            if space.embedded_as not in self._made:
                from emendo_client.embeddings import create_embedder

                self._made[space.embedded_as] = create_embedder(self._settings, space.space)
            return self._made[space.embedded_as]


def _key(query: str, space: SpaceRecord) -> str:
    return f"{space.embedded_as}:{text_hash(query)}"
