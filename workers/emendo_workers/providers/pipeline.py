"""Texts to vectors: from process memory, from Redis, or from the provider, in requests that concurrent drains share.

process memory → Redis → a request in flight for the same text → joined requests → provider
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future

from emendo_client.errors import EmendoError
from emendo_client.providers.embeddings.lru import VectorLRU
from emendo_client.records.derived_fields import text_hash
from emendo_config import Settings
from emendo_config import metric_families as metrics
from emendo_workers.providers.meter import Meter
from emendo_workers.providers.micro_batcher import MicroBatcher
from emendo_workers.providers.requests import EmbeddingRequests
from emendo_workers.providers.vector_cache import VectorCache
from emendo_workers.tally import Tally

# By text hash: the text's vector, or the error that kept it from having one.
Answers = dict[str, bytes | EmendoError]


class EmbeddingPipeline:
    """Embeds texts for one worker; thread-safe.

    Args:
        requests: asks the provider.
        cache: shared by all workers.
        settings: the size of the process's own cache, and how long small requests wait to be joined.
        tally: counts where vectors come from.
    """

    def __init__(
        self, requests: EmbeddingRequests, cache: VectorCache, settings: Settings, tally: Tally | None = None
    ) -> None:
        self.requests = requests
        self._cache = cache
        self._tally = tally or Tally()
        self._memory = VectorLRU(settings.embedding_lru_bytes)
        self._batcher = MicroBatcher(requests.embed, settings.embedding_gather_ms / 1_000)
        self._in_flight: dict[str, Future[Answers]] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Ends its threads."""
        self.requests.close()

    def embed(self, texts: Sequence[str], meter: Meter | None = None) -> dict[str, bytes | EmendoError]:
        """A vector (float32[dimensions] bytes) for each text, or the error that kept it from having one.

        Args:
            texts: what to embed.
            meter: counts the cost; cached vectors, and those that another drain asked for, cost nothing.
        """
        wanted = {text_hash(text): text for text in texts}
        found: Answers = dict(self._memory.get(wanted))
        missing = [digest for digest in wanted if digest not in found]
        cached = self._cache.get(missing)
        self._count(process=len(found), redis=len(cached))
        self._memory.put(cached)
        found.update(cached)
        unknown = {digest: wanted[digest] for digest in missing if digest not in cached}
        found.update(self._embed_once(unknown, meter or Meter()))
        return {text: found[digest] for digest, text in wanted.items()}

    def forget(self, texts: Sequence[str]) -> None:
        """Drops the vectors of erased texts, in the process and in Redis."""
        digests = [text_hash(text) for text in texts]
        self._memory.forget(digests)
        self._cache.forget(digests)

    def _embed_once(self, texts: dict[str, str], meter: Meter) -> Answers:
        """Embeds texts by hash; for a text that is in flight already it waits for that request's answer."""
        answers: Future[Answers] = Future()
        with self._lock:
            others = {digest: self._in_flight[digest] for digest in texts if digest in self._in_flight}
            ours = {digest: text for digest, text in texts.items() if digest not in others}
            self._in_flight.update(dict.fromkeys(ours, answers))
        self._count(in_flight=len(others), miss=len(ours))
        found = self._request(ours, answers, meter) if ours else {}
        for digest, other in others.items():
            found[digest] = other.result()[digest]
        return found

    def _request(self, texts: dict[str, str], answers: Future[Answers], meter: Meter) -> Answers:
        try:
            vectors = self._batcher.embed(list(texts.values()), meter)
            found = {digest: vectors[text] for digest, text in texts.items()}
        except BaseException as error:
            self._landed(texts)
            answers.set_exception(error)
            raise
        new = {digest: vector for digest, vector in found.items() if isinstance(vector, bytes)}
        self._memory.put(new)
        self._landed(texts)
        answers.set_result(dict(found))
        self._cache.put(new)
        return found

    def _count(self, **results: int) -> None:
        counts: dict[str, int] = {}
        for result, by in results.items():
            if by:
                metrics.count(counts, metrics.CACHE_LOOKUPS, result, by=by)
        self._tally.add(counts)

    def _landed(self, digests: Iterable[str]) -> None:
        with self._lock:
            for digest in digests:
                del self._in_flight[digest]
