"""Counts what embedding costs, separately for each caller."""

from __future__ import annotations

import threading


class Meter:
    """Answered requests, and their tokens as the provider counted them; thread-safe."""

    def __init__(self) -> None:
        self.requests = 0
        self.tokens = 0
        self._lock = threading.Lock()

    def add(self, requests: int, tokens: int) -> None:
        """Adds a cost."""
        with self._lock:
            self.requests += requests
            self.tokens += tokens
