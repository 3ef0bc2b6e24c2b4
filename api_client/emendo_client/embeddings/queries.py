"""Embedding what people search for; the same question is asked of the provider once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from emendo_client.embeddings.lru import VectorLRU
from emendo_client.records import text_hash
from emendo_config import Settings

if TYPE_CHECKING:
    from emendo_client.embeddings import Embedder


class QueryEmbedder:
    """Query texts to vectors (float32[dimensions] bytes); thread-safe. The embedder is made at the first query."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._memory = VectorLRU(settings.embedding_lru_bytes)
        self._lock = threading.Lock()
        self._made: Embedder | None = None

    def embed(self, query: str) -> bytes:
        """The query's vector.

        Raises:
            EmbeddingError, NetworkError, AuthenticationError: it cannot be embedded.
        """
        digest = text_hash(query)
        return self._known(digest) or self._keep(digest, self._embedder().embed([query]).vectors[0])

    async def embed_async(self, query: str) -> bytes:
        """The same, awaited."""
        digest = text_hash(query)
        known = self._known(digest)
        return known or self._keep(digest, (await self._embedder().embed_async([query])).vectors[0])

    def close(self) -> None:
        """Closes the embedder's connections."""
        if self._made is not None:
            self._made.close()

    async def close_async(self) -> None:
        """The same, for who awaited."""
        if self._made is not None:
            await self._made.close_async()

    def _known(self, digest: str) -> bytes | None:
        return self._memory.get([digest]).get(digest)

    def _keep(self, digest: str, vector: bytes) -> bytes:
        self._memory.put({digest: vector})
        return vector

    def _embedder(self) -> Embedder:
        with self._lock:
            if self._made is None:
                from emendo_client.embeddings import create_embedder

                self._made = create_embedder(self._settings)
            return self._made
