"""The circuit breaker: while a provider is down nobody calls it, and its jobs wait without spending attempts.

Closed: calls go through. Open: after some failures in a row nobody calls for a while. Half open: one caller tries. If
it succeeds the breaker closes; if it fails the pause doubles. All workers share the state in Redis.
"""

from __future__ import annotations

from typing import Literal

from emendo_client.errors import CircuitOpenError, EmendoError, NetworkError
from emendo_config import Keys, Settings
from emendo_config.store import scripts


class CircuitBreaker:
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

    def check(self) -> scripts.Command:
        """Asks whether a call may be made."""
        return self._command("ask")

    def read_check(self, wait: int) -> bool:
        """Reads the reply to `check`: True when failures are counted, so that a success must be reported.

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
        """Reports how a call went. A provider that answers is not down, even when it refuses."""
        if isinstance(error, NetworkError):
            return self._command("failed")
        return self._command("ok")

    def _command(self, word: Literal["ask", "ok", "failed"]) -> scripts.Command:
        settings = self._settings
        return scripts.breaker(
            breaker=self._key,
            word=word,
            failures=settings.breaker_failures,
            pause_ms=int(settings.breaker_pause * 1000),
            longest_ms=int(settings.breaker_longest_pause * 1000),
            probe_ms=int(self._timeout * 1000),
        )
