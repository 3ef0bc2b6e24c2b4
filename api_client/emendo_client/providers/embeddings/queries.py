"""The embedding of search queries; the provider is asked once for the same query."""

from __future__ import annotations

import threading

from emendo_client.providers.embeddings import create_embedder
from emendo_client.providers.embeddings.base import Embedder
from emendo_client.providers.embeddings.lru import VectorLRU
from emendo_client.providers.embeddings.vectors import converted
from emendo_client.records.derived_fields import text_hash
from emendo_client.spans import embedding
from emendo_config import Settings
from emendo_config.forks import notice_fork, reset_in_children
from emendo_config.spaces.registry import SpaceRecord


class QueryEmbedder:
    """Embeds queries in an embedding space; thread-safe. A space's embedder is made at its first query."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._vectors = VectorLRU(settings.embedding_lru_bytes)
        self._lock = threading.Lock()
        self._embedders: dict[str, Embedder] = {}
        reset_in_children(self)

    def reset_after_fork(self) -> None:
        """Another thread of the parent may hold the lock; the embedders reset themselves."""
        self._lock = threading.Lock()

    def embed(self, query: str, space: SpaceRecord) -> bytes:
        """The query's vector in the space: bytes of datatype[dimensions].

        Raises:
            EmbeddingError, NetworkError, RateLimitError, AuthenticationError: it cannot be embedded.
            ConfigurationError: the space's provider is not installed here, or the settings name no server of it.
        """
        vector = self._known(query, space)
        if vector is None:
            with embedding(self._settings, space.space):
                vector = self._keep(query, space, self._embedder(space).embed([query]).first)
        return converted(vector, "float32", space.datatype)

    async def embed_async(self, query: str, space: SpaceRecord) -> bytes:
        """The asyncio twin of `embed`."""
        vector = self._known(query, space)
        if vector is None:
            with embedding(self._settings, space.space):
                vector = self._keep(query, space, (await self._embedder(space).embed_async([query])).first)
        return converted(vector, "float32", space.datatype)

    def close(self) -> None:
        """Closes the embedders' connections."""
        for embedder in self._embedders.values():
            embedder.close()

    async def close_async(self) -> None:
        """Closes all connections, including those of `embed_async`."""
        for embedder in self._embedders.values():
            await embedder.close_async()

    def _known(self, query: str, space: SpaceRecord) -> bytes | None:
        notice_fork()
        key = _key(query, space)
        return self._vectors.get([key]).get(key)

    def _keep(self, query: str, space: SpaceRecord, vector: bytes) -> bytes:
        self._vectors.put({_key(query, space): vector})
        return vector

    def _embedder(self, space: SpaceRecord) -> Embedder:
        with self._lock:
            name = _name(space)
            if name not in self._embedders:
                self._embedders[name] = create_embedder(self._settings, space.space, for_queries=True)
            return self._embedders[name]


def _key(query: str, space: SpaceRecord) -> str:
    return f"{_name(space)}:{text_hash(query)}"


def _name(space: SpaceRecord) -> str:
    """The same for all spaces in which queries have the same vectors."""
    query = space.space.query
    return f"{space.embedded_as}:{query.prefix}:{query.fields}"
