"""How long tests wait for what other threads and processes bring about."""

from __future__ import annotations

import time
from collections.abc import Callable

# Seconds. No machine is so slow: who waits so long waits in vain. It is less than pytest's own limit for a test, so
# that the failure says what was waited for.
PATIENCE = 100.0
# Seconds for what is made of many such steps: a storm, a re-embedding, a whole stack. For slow tests, whose limit is
# larger.
LONG_PATIENCE = 450.0
_PAUSE = 0.01


def until(
    holds: Callable[[], object],
    failure: str | Callable[[], object] = "it never came to pass",
    seconds: float = PATIENCE,
) -> None:
    """Looks again and again, in real time, until something holds.

    Args:
        holds: looks.
        failure: its message, or a function that makes one.
        seconds: after which it never will.

    Raises:
        AssertionError: it did not come to hold in time.
    """
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, failure if isinstance(failure, str) else failure()
        time.sleep(_PAUSE)
