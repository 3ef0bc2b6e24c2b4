"""Texts to vectors: looked for in the process, then in Redis; what nobody has is asked for once, with others.

process memory → Redis → somebody asking just now → requests gathered → provider
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future

from emendo_client.embeddings.lru import VectorLRU
from emendo_client.errors import EmendoError
from emendo_client.records import text_hash
from emendo_config import Settings
from emendo_workers.embedding_cache import EmbeddingCache
from emendo_workers.embedding_requests import EmbeddingRequests
from emendo_workers.gathering import Gatherer
from emendo_workers.metering import Meter

# By a text's hash: its vector, or the error that kept it from having one.
Answers = dict[str, bytes | EmendoError]


class EmbeddingPipeline:
    """One worker's way from texts to vectors; thread-safe.

    Args:
        requests: asks the provider.
        cache: what all workers share.
        settings: how much is kept, and how long small requests wait for one another.
    """

    def __init__(self, requests: EmbeddingRequests, cache: EmbeddingCache, settings: Settings) -> None:
        self.requests = requests
        self._cache = cache
        self._memory = VectorLRU(settings.embedding_lru_bytes)
        self._gatherer = Gatherer(requests.embed, settings.embedding_gather_ms / 1_000)
        self._asked: dict[str, Future[Answers]] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Ends its threads."""
        self.requests.close()

    def embed(self, texts: Sequence[str], meter: Meter | None = None) -> dict[str, bytes | EmendoError]:
        """A vector (float32[dimensions] bytes) for each text, or the error that kept it from having one.

        Args:
            texts: what to embed.
            meter: is told what that cost; nothing, where vectors were kept or somebody else was asking.
        """
        wanted = {text_hash(text): text for text in texts}
        found: Answers = dict(self._memory.get(wanted))
        missing = [digest for digest in wanted if digest not in found]
        cached = self._cache.get(missing)
        self._memory.put(cached)
        found.update(cached)
        unknown = {digest: wanted[digest] for digest in missing if digest not in cached}
        found.update(self._ask(unknown, meter or Meter()))
        return {text: found[digest] for digest, text in wanted.items()}

    def forget(self, texts: Sequence[str]) -> None:
        """Drops the vectors of texts that were erased, here and in Redis."""
        digests = [text_hash(text) for text in texts]
        self._memory.forget(digests)
        self._cache.forget(digests)

    def _ask(self, texts: dict[str, str], meter: Meter) -> Answers:
        """Asks for texts by digest; one that another drain is asking for just now is waited for instead."""
        asking: Future[Answers] = Future()
        with self._lock:
            others = {digest: self._asked[digest] for digest in texts if digest in self._asked}
            ours = {digest: text for digest, text in texts.items() if digest not in others}
            self._asked.update(dict.fromkeys(ours, asking))
        found = self._ask_provider(ours, asking, meter) if ours else {}
        for digest, others_asking in others.items():
            found[digest] = others_asking.result()[digest]
        return found

    def _ask_provider(self, texts: dict[str, str], asking: Future[Answers], meter: Meter) -> Answers:
        try:
            vectors = self._gatherer.embed(list(texts.values()), meter)
            found = {digest: vectors[text] for digest, text in texts.items()}
        except BaseException as error:
            self._forget_asking(texts)
            asking.set_exception(error)
            raise
        new = {digest: vector for digest, vector in found.items() if isinstance(vector, bytes)}
        self._memory.put(new)
        self._forget_asking(texts)
        asking.set_result(dict(found))
        self._cache.put(new)
        return found

    def _forget_asking(self, digests: Iterable[str]) -> None:
        with self._lock:
            for digest in digests:
                del self._asked[digest]
