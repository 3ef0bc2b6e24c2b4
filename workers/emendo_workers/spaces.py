"""A pipeline for each embedding space a worker writes."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import redis

from emendo_client.embeddings import Embedder, create_embedder
from emendo_client.errors import VectorStoreError
from emendo_config import Keys, Settings
from emendo_config.index import find_active, indexed_space
from emendo_config.registry import SpaceRecord, registered_spaces
from emendo_config.spaces import EmbeddingSpace
from emendo_workers.breaker import Breaker
from emendo_workers.embedding import EmbeddingPipeline
from emendo_workers.embedding_cache import EmbeddingCache
from emendo_workers.embedding_requests import EmbeddingRequests
from emendo_workers.gate import Gate
from emendo_workers.pacing import Pacer

if TYPE_CHECKING:
    from emendo_workers.services import Services


class SpacePipelines:
    """Pipelines by the name their texts are embedded under, made when they are first needed; thread-safe.

    Spaces of one provider share its gate.

    Args:
        share: of the provider's limits, which what is embedded here may use.
    """

    def __init__(
        self, data: redis.Redis, control: redis.Redis, keys: Keys, settings: Settings, share: float = 1.0
    ) -> None:
        self._data = data
        self._control = control
        self._keys = keys
        self._settings = settings
        self._share = share
        self._gates: dict[str, Gate] = {}
        self._made: dict[str, tuple[EmbeddingPipeline, Embedder]] = {}
        self._lock = threading.RLock()

    def make(self, space: EmbeddingSpace, name: str, embedder: Embedder) -> EmbeddingPipeline:
        """A pipeline of the caller's own.

        Args:
            space: what the embedder gives vectors of.
            name: under which they are cached.
            embedder: asks the provider.
        """
        requests = EmbeddingRequests(embedder, self._settings, self._gate(space.provider))
        cache = EmbeddingCache(self._data, self._keys, self._settings, name)
        return EmbeddingPipeline(requests, cache, self._settings)

    def of(self, record: SpaceRecord) -> EmbeddingPipeline:
        """The pipeline of a registered space.

        Raises:
            ConfigurationError: its provider is not installed here, or the settings do not say where it is.
        """
        with self._lock:
            name = record.embedded_as
            if name not in self._made:
                embedder = create_embedder(self._settings, record.space)
                self._made[name] = self.make(record.space, name, embedder), embedder
            return self._made[name][0]

    def keep(self, records: Iterable[SpaceRecord]) -> None:
        """Lets the pipelines of spaces that are gone go; who is using one still may."""
        if not self._made:
            return
        names = {record.embedded_as for record in records}
        with self._lock:
            for name in self._made.keys() - names:
                del self._made[name]

    def close(self) -> None:
        """Ends their threads and connections."""
        with self._lock:
            for pipeline, embedder in self._made.values():
                pipeline.close()
                embedder.close()
            self._made.clear()

    def _gate(self, provider: str) -> Gate:
        with self._lock:
            if provider not in self._gates:
                breaker = Breaker(self._keys, self._settings, provider)
                pacer = Pacer(self._keys, self._settings, provider, self._share)
                self._gates[provider] = Gate(self._control, breaker, pacer)
            return self._gates[provider]


def searched_space(services: Services) -> SpaceRecord:
    """The space the alias stands for.

    Raises:
        VectorStoreError: there is no index just now; the sweeper makes it anew.
    """
    indexed = indexed_space(services.data, services.keys)
    if indexed is None:
        raise VectorStoreError("the search index is not there", error_code="NO_INDEX")
    registry: Any = services.data.hgetall(services.keys.spaces)
    return find_active(indexed, registered_spaces(registry, services.settings))
