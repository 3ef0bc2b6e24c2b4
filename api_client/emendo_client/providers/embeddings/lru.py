"""The cache of vectors in the process, bounded in bytes and asked before Redis and the provider."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping

from emendo_config.forks import reset_in_children

# Bytes of an entry besides its vector: key, bytes object, place in the order (measured with CPython 3.11).
OVERHEAD = 300


class VectorLRU:
    """Vectors by the hash of their text; the least recently used are dropped first. Thread-safe.

    Args:
        capacity: about the largest size in bytes; 0 keeps nothing.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._vectors: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()
        reset_in_children(self)

    def reset_after_fork(self) -> None:
        """Starts empty: another thread of the parent may have been in the middle of a change."""
        self._vectors = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """About the bytes held."""
        return self._size

    def get(self, digests: Iterable[str]) -> dict[str, bytes]:
        """The cached ones of these vectors."""
        found = {}
        with self._lock:
            for digest in digests:
                vector = self._vectors.get(digest)
                if vector is not None:
                    self._vectors.move_to_end(digest)
                    found[digest] = vector
        return found

    def put(self, vectors: Mapping[str, bytes]) -> None:
        """Caches the vectors and drops the least recently used ones."""
        with self._lock:
            for digest, vector in vectors.items():
                self._drop(digest)
                self._vectors[digest] = vector
                self._size += len(vector) + OVERHEAD
            while self._size > self._capacity:
                self._drop(next(iter(self._vectors)))

    def forget(self, digests: Iterable[str]) -> None:
        """Drops these vectors."""
        with self._lock:
            for digest in digests:
                self._drop(digest)

    def _drop(self, digest: str) -> None:
        vector = self._vectors.pop(digest, None)
        if vector is not None:
            self._size -= len(vector) + OVERHEAD
