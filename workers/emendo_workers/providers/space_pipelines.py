"""One embedding pipeline for each embedding space that a worker writes."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from emendo_client.providers.embeddings import Embedder, create_embedder
from emendo_config.embedding_space import EmbeddingSpace
from emendo_config.spaces.registry import SpaceRecord
from emendo_workers.providers.admission import AdmissionControl
from emendo_workers.providers.circuit_breaker import CircuitBreaker
from emendo_workers.providers.pipeline import EmbeddingPipeline
from emendo_workers.providers.rate_limiter import RateLimiter
from emendo_workers.providers.requests import EmbeddingRequests
from emendo_workers.providers.vector_cache import VectorCache
from emendo_workers.store import Store


class SpacePipelines:
    """Pipelines by the name their vectors are cached under, created when they are first needed; thread-safe.

    Spaces of one provider share its admission control.

    Args:
        store: the worker's.
        share: part of the provider's limits that these pipelines may use.
    """

    def __init__(self, store: Store, share: float = 1.0) -> None:
        self._store = store
        self._share = share
        self._admissions: dict[str, AdmissionControl] = {}
        self._created: dict[str, tuple[EmbeddingPipeline, Embedder]] = {}
        self._lock = threading.RLock()

    def create(self, space: EmbeddingSpace, name: str, embedder: Embedder) -> EmbeddingPipeline:
        """A new pipeline, which the caller closes.

        Args:
            space: the embedder's.
            name: under which its vectors are cached.
            embedder: asks the provider.
        """
        store = self._store
        requests = EmbeddingRequests(embedder, store.settings, self._admission(space.provider), store.tally, space)
        return EmbeddingPipeline(requests, VectorCache(store, name), store.settings, store.tally)

    def of(self, record: SpaceRecord) -> EmbeddingPipeline:
        """The pipeline of a registered space.

        Raises:
            ConfigurationError: its provider is not installed here, or the settings do not say where it is.
        """
        with self._lock:
            name = record.embedded_as
            if name not in self._created:
                embedder = create_embedder(self._store.settings, record.space)
                self._created[name] = self.create(record.space, name, embedder), embedder
            return self._created[name][0]

    def find(self, record: SpaceRecord) -> EmbeddingPipeline | None:
        """The pipeline of a registered space, if this process has needed it."""
        with self._lock:
            found = self._created.get(record.embedded_as)
            return found[0] if found else None

    def retain(self, records: Iterable[SpaceRecord]) -> None:
        """Drops the pipelines of all other spaces; a drain that uses one may still finish."""
        if not self._created:
            return
        names = {record.embedded_as for record in records}
        with self._lock:
            for name in self._created.keys() - names:
                del self._created[name]

    def close(self) -> None:
        """Ends their threads and connections."""
        with self._lock:
            for pipeline, embedder in self._created.values():
                pipeline.close()
                embedder.close()
            self._created.clear()

    def _admission(self, provider: str) -> AdmissionControl:
        with self._lock:
            if provider not in self._admissions:
                keys, settings = self._store.keys, self._store.settings
                breaker = CircuitBreaker(keys, settings, provider)
                rate_limiter = RateLimiter(keys, settings, provider, self._share)
                self._admissions[provider] = AdmissionControl(self._store.control, breaker, rate_limiter)
            return self._admissions[provider]
