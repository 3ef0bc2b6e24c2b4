"""The test server's rate-limit headers: OpenAI's names and forms, counted down."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict

_WINDOW = 60.0  # seconds; OpenAI's limits are per minute


@dataclass
class RateLimits:
    """Reports the rest of a minute's allowance in every answer; thread-safe. It refuses nothing; faults do that.

    The names and the form of the values are those of
    https://platform.openai.com/docs/guides/rate-limits (rate limits in headers).

    Attributes:
        requests: per minute.
        tokens: per minute.
    """

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    requests: int = 3_000
    tokens: int = 1_000_000

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self.renew()

    def renew(self) -> None:
        """Starts a new minute with the full allowance."""
        with self._lock:
            self._began, self._used_requests, self._used_tokens = time.monotonic(), 0, 0

    def spend(self, tokens: int) -> dict[str, str]:
        """Counts one request with this many tokens, and returns the headers of its answer."""
        with self._lock:
            now = time.monotonic()
            if now - self._began >= _WINDOW:
                self._began, self._used_requests, self._used_tokens = now, 0, 0
            self._used_requests += 1
            self._used_tokens += tokens
            reset = f"{self._began + _WINDOW - now:.3f}s"
            left_requests = max(0, self.requests - self._used_requests)
            left_tokens = max(0, self.tokens - self._used_tokens)
        return {
            "x-ratelimit-limit-requests": str(self.requests),
            "x-ratelimit-limit-tokens": str(self.tokens),
            "x-ratelimit-remaining-requests": str(left_requests),
            "x-ratelimit-remaining-tokens": str(left_tokens),
            "x-ratelimit-reset-requests": reset,
            "x-ratelimit-reset-tokens": reset,
        }
