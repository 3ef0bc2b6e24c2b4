"""Vectors in Redis, for all workers: a text that was embedded a while ago is not paid for again.

Bounded in time by a TTL, and in bytes by a share for each period a TTL is divided into: what comes after a period's
share is used up is not kept, so a burst of new texts, which would fill the cache in seconds at a cost that rivals the
updates' own, leaves room for the texts of later. Keys name the space and the text's hash.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from typing import Any

import redis

from emendo_config import Keys, Settings
from emendo_config.redis_io import round_trip

# A size read so long ago (seconds) is read again.
_SIZE_IS_NEW = 1.0
# Periods a TTL is divided into.
_PERIODS = 8


class EmbeddingCache:
    """The vectors of one space, the settings' when none is named; thread-safe."""

    def __init__(self, data: redis.Redis, keys: Keys, settings: Settings, space: str = "") -> None:
        self._data = data
        self._keys = keys
        self._space = space or settings.space.name
        self._ttl = settings.embedding_cache_ttl
        self._share = settings.embedding_cache_bytes // _PERIODS
        self._length = max(1, self._ttl // _PERIODS)
        self._seen = (0, 0.0, 0)  # a period, when its bytes were read, and how many they were

    @property
    def is_on(self) -> bool:
        """False when the settings keep nothing."""
        return bool(self._ttl and self._share)

    def get(self, digests: Sequence[str]) -> dict[str, bytes]:
        """Those of the vectors that are here."""
        if not self.is_on or not digests:
            return {}
        found: Any = self._data.mget([self._keys.embedding(self._space, digest) for digest in digests])
        return {digest: vector for digest, vector in zip(digests, found, strict=True) if vector is not None}

    def put(self, vectors: Mapping[str, bytes]) -> None:
        """Keeps the vectors, as far as there is room."""
        if not self.is_on or not vectors:
            return
        period = self._period
        room = (self._share - self._kept_in(period)) // len(next(iter(vectors.values())))
        kept = dict(itertools.islice(vectors.items(), max(0, room)))
        if not kept:
            return
        count = self._keys.embedding_bytes(self._space, period)
        commands: list[tuple[Any, ...]] = [
            ("INCRBY", count, sum(map(len, kept.values()))),
            ("EXPIRE", count, self._ttl + 2 * self._length),
        ]
        commands += [
            ("SET", self._keys.embedding(self._space, digest), vector, "EX", self._ttl)
            for digest, vector in kept.items()
        ]
        # Repeated by a retry, it counts bytes twice: the cache keeps a little less, no more.
        size, *_ = round_trip(self._data, commands)
        self._seen = (period, time.monotonic(), size)

    def forget(self, digests: Sequence[str]) -> None:
        """Removes the vectors of texts that were erased."""
        if digests:
            self._data.delete(*(self._keys.embedding(self._space, digest) for digest in digests))

    def size(self) -> int:
        """Bytes of vectors that may still be here: those of the periods a TTL reaches back."""
        now = self._period
        periods = [self._keys.embedding_bytes(self._space, now - back) for back in range(_PERIODS + 1)]
        counts: Any = self._data.mget(periods)
        return sum(int(count or 0) for count in counts)

    def _kept_in(self, period: int) -> int:
        """Bytes kept in the period, as it was a moment ago."""
        seen, read, size = self._seen
        if seen != period or time.monotonic() - read > _SIZE_IS_NEW:
            count: Any = self._data.get(self._keys.embedding_bytes(self._space, period))
            size = int(count or 0)
            self._seen = (period, time.monotonic(), size)
        return size

    @property
    def _period(self) -> int:
        return int(time.time()) // self._length
