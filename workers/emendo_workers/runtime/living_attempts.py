"""The attempts of this process that are no deaths: those it makes now, and those it gave up by itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Attempts given up that are remembered. A successor asks within seconds.
MOST_GIVEN_UP = 1_000


class LivingAttempts:
    """Tokens of attempts whose process is alive; thread-safe.

    An attempt that fails, for instance because Redis stands still, leaves its entry to a successor. That is no death.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._now: set[str] = set()
        self._given_up: dict[str, None] = {}  # in order

    @property
    def tokens(self) -> list[str]:
        """All of them."""
        with self._guard:
            return [*self._now, *self._given_up]

    @contextmanager
    def attempt(self, token: str) -> Iterator[None]:
        """Holds an attempt's token while the block runs, and afterwards if the block fails."""
        with self._guard:
            self._now.add(token)
        try:
            yield
        except Exception:
            with self._guard:
                self._given_up[token] = None
                if len(self._given_up) > MOST_GIVEN_UP:
                    del self._given_up[next(iter(self._given_up))]
            raise
        finally:
            with self._guard:
                self._now.discard(token)
