"""The circuit breaker: a provider that is down is left alone, and the jobs wait without spending attempts.

Closed: calls go through. Open: after some failures in a row nobody calls for a while. Half open: one caller
tries; when it succeeds the breaker closes, when it fails the pause doubles. Shared by all workers in Redis.
"""

from __future__ import annotations

import logging
from typing import Literal

from emendo_client.errors import CircuitOpenError, EmendoError, NetworkError, RateLimitError
from emendo_config import Keys, Settings
from emendo_workers import scripts

logger = logging.getLogger(__name__)


class Breaker:
    """One provider's breaker; builds commands for the control plane and reads their replies; thread-safe.

    Args:
        keys, settings: the worker's.
        provider: its name, which tells the breakers apart.
        timeout: seconds one call may take; default: an embedding's.
    """

    def __init__(self, keys: Keys, settings: Settings, provider: str, timeout: float | None = None) -> None:
        self._key = keys.breaker(provider)
        self._settings = settings
        self._provider = provider
        self._timeout = settings.embedding_timeout if timeout is None else timeout

    def ask(self) -> scripts.Command:
        """Asks for leave to make a call."""
        return self._command("ask")

    def allowed(self, wait: int) -> bool:
        """Reads the reply to `ask`: True when there were failures, so that the call's success is worth reporting.

        Raises:
            CircuitOpenError: not now; `details["retry_after"]` says in how many seconds.
        """
        if wait > 0:
            raise CircuitOpenError(
                f"the {self._provider} provider has been failing and is left alone for a while",
                details={"retry_after": wait / 1000},
            )
        return wait < 0

    def report(self, error: EmendoError | None) -> scripts.Command:
        """Says how the call went. A provider that answers at all, if only to refuse, is not down."""
        if isinstance(error, NetworkError) and not isinstance(error, RateLimitError):
            return self._command("failed")
        return self._command("ok")

    def _command(self, word: Literal["ask", "ok", "failed"]) -> scripts.Command:
        settings = self._settings
        return scripts.breaker(
            self._key,
            word,
            failures=settings.breaker_failures,
            pause_ms=int(settings.breaker_pause * 1000),
            longest_ms=int(settings.breaker_longest_pause * 1000),
            probe_ms=int(self._timeout * 1000),
        )
