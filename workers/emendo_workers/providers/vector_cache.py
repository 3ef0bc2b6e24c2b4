"""Vectors in Redis, shared by all workers, so that a text embedded recently is not paid for again.

A TTL bounds the cache in time. In bytes each eighth of the TTL, a period, has its share: once that is used up, nothing
more is kept in this period. So a burst of new texts leaves room for later ones, and does not spend on the cache what
the updates themselves cost. Keys name the space and the text's hash.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from typing import Any

from redis.exceptions import OutOfMemoryError

from emendo_config.store.formats import CACHE_PERIODS
from emendo_config.store.pipeline import round_trip
from emendo_workers.store import Store

# Seconds a size that was read is trusted.
_SIZE_MAX_AGE = 1.0


class VectorCache:
    """The cached vectors of one space, by default that of the settings; thread-safe."""

    def __init__(self, store: Store, space: str = "") -> None:
        settings = store.settings
        self._store = store
        self._space = space or settings.space.name
        self._ttl = settings.embedding_cache_ttl
        self._share = settings.embedding_cache_bytes // CACHE_PERIODS
        self._length = max(1, self._ttl // CACHE_PERIODS)
        self._seen = (0, 0.0, 0)  # a period, when its bytes were read, and how many they were

    @property
    def is_on(self) -> bool:
        """False when the settings turn the cache off."""
        return bool(self._ttl and self._share)

    def get(self, digests: Sequence[str]) -> dict[str, bytes]:
        """The cached vectors of these text hashes."""
        if not self.is_on or not digests:
            return {}
        found: Any = self._store.data.mget([self._store.keys.embedding(self._space, digest) for digest in digests])
        return {digest: vector for digest, vector in zip(digests, found, strict=True) if vector is not None}

    def put(self, vectors: Mapping[str, bytes]) -> None:
        """Caches the vectors, as far as there is room."""
        if not self.is_on or not vectors:
            return
        period = self._period
        room = (self._share - self._kept_in(period)) // len(next(iter(vectors.values())))
        kept = dict(itertools.islice(vectors.items(), max(0, room)))
        if not kept:
            return
        count = self._store.keys.embedding_bytes(self._space, period)
        commands: list[tuple[Any, ...]] = [
            ("INCRBY", count, sum(map(len, kept.values()))),
            ("EXPIRE", count, self._ttl + 2 * self._length),
        ]
        commands += [
            ("SET", self._store.keys.embedding(self._space, digest), vector, "EX", self._ttl)
            for digest, vector in kept.items()
        ]
        # A retry counts the bytes twice; the cache then keeps a little less.
        try:
            size, *_ = round_trip(self._store.data, commands)
        except OutOfMemoryError:  # a cache is no reason to fail
            return
        self._seen = (period, time.monotonic(), size)

    def forget(self, digests: Sequence[str]) -> None:
        """Removes the vectors of erased texts."""
        if digests:
            self._store.data.unlink(*(self._store.keys.embedding(self._space, digest) for digest in digests))

    def size(self) -> int:
        """Bytes of vectors that may still be cached: those of the periods within one TTL."""
        now = self._period
        periods = [self._store.keys.embedding_bytes(self._space, now - back) for back in range(CACHE_PERIODS + 1)]
        counts: Any = self._store.data.mget(periods)
        return sum(int(count or 0) for count in counts)

    def _kept_in(self, period: int) -> int:
        """Bytes cached in the period, read at most `_SIZE_MAX_AGE` seconds ago."""
        seen, read, size = self._seen
        if seen != period or time.monotonic() - read > _SIZE_MAX_AGE:
            count: Any = self._store.data.get(self._store.keys.embedding_bytes(self._space, period))
            size = int(count or 0)
            self._seen = (period, time.monotonic(), size)
        return size

    @property
    def _period(self) -> int:
        return int(self._store.data_time()) // self._length  # all workers count in the same one
