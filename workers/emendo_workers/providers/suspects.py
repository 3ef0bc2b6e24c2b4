"""Texts that failed alone: they are asked for alone, so that they do not fail others again."""

from __future__ import annotations

import threading
from collections import OrderedDict

from emendo_client.records.derived_fields import text_hash

_MOST = 4_096


class Suspects:
    """The newest such texts, by their hashes; thread-safe."""

    def __init__(self) -> None:
        self._digests: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def __contains__(self, text: str) -> bool:
        return bool(self._digests) and text_hash(text) in self._digests

    def add(self, text: str) -> None:
        """Adds a text, and forgets the oldest if there are too many."""
        with self._lock:
            self._digests[text_hash(text)] = None
            if len(self._digests) > _MOST:
                self._digests.popitem(last=False)

    def discard(self, text: str) -> None:
        """Forgets a text that was embedded after all."""
        if text in self:
            with self._lock:
                self._digests.pop(text_hash(text), None)
