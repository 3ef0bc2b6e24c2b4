"""Vectors kept in the process, bounded in bytes: the first place to look before anybody is asked."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping

# What an entry costs beyond its vector: key, bytes object, place in the order (measured with CPython 3.11).
OVERHEAD = 300


class VectorLRU:
    """Vectors by the hash of their text, the least recently used go first; thread-safe.

    Args:
        capacity: bytes, about; 0 keeps nothing.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._vectors: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Bytes held, about."""
        return self._size

    def get(self, digests: Iterable[str]) -> dict[str, bytes]:
        """Those of the vectors that are here."""
        found = {}
        with self._lock:
            for digest in digests:
                vector = self._vectors.get(digest)
                if vector is not None:
                    self._vectors.move_to_end(digest)
                    found[digest] = vector
        return found

    def put(self, vectors: Mapping[str, bytes]) -> None:
        """Keeps the vectors, and lets the oldest go."""
        with self._lock:
            for digest, vector in vectors.items():
                self._drop(digest)
                self._vectors[digest] = vector
                self._size += len(vector) + OVERHEAD
            while self._size > self._capacity:
                self._drop(next(iter(self._vectors)))

    def forget(self, digests: Iterable[str]) -> None:
        """Lets these go."""
        with self._lock:
            for digest in digests:
                self._drop(digest)

    def _drop(self, digest: str) -> None:
        vector = self._vectors.pop(digest, None)
        if vector is not None:
            self._size -= len(vector) + OVERHEAD
