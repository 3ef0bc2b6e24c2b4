"""The metrics of one process until a drain takes them to Redis, with its last round trip; and spans of its stages."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from emendo_config import traces

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer


class Tally:
    """Counts by field (see `emendo_config.metric_families`), and the time that the thread's batch spends in each stage.

    Thread-safe. A process that dies loses what none of its drains has taken to Redis: mostly one batch's counts.

    Args:
        tracer: makes the process's spans; None while it makes none.
    """

    def __init__(self, tracer: Tracer | None = None) -> None:
        self.tracer = tracer
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self._batch = threading.local()

    def add(self, counts: Mapping[str, int]) -> None:
        """Adds counts."""
        with self._lock:
            for name, by in counts.items():
                self._counts[name] = self._counts.get(name, 0) + by

    def take(self) -> list[str | int]:
        """Empties the tally; field, count, …."""
        with self._lock:
            taken, self._counts = self._counts, {}
        return [part for pair in taken.items() for part in pair]

    def begin_batch(self) -> None:
        """Forgets the times of the thread's last batch."""
        self._batch.seconds = {}

    @contextmanager
    def stage(self, name: str, step: str) -> Iterator[None]:
        """Adds the time of the block to the stage of the thread's batch.

        Args:
            step: what the block does, for a span below the batch's.
        """
        began = time.monotonic()
        try:
            with self._span(step):
                yield
        finally:
            seconds: dict[str, float] = self.stages
            seconds[name] = seconds.get(name, 0.0) + time.monotonic() - began

    def _span(self, step: str) -> AbstractContextManager[object]:
        if self.tracer is None:
            return nullcontext()
        from opentelemetry.trace import get_current_span

        # Not below a span that is not sampled: the batch is nobody's to look at.
        return traces.span(self.tracer, step) if get_current_span().is_recording() else nullcontext()

    @property
    def stages(self) -> dict[str, float]:
        """Seconds by stage of the thread's batch."""
        if not hasattr(self._batch, "seconds"):
            self._batch.seconds = {}
        return self._batch.seconds  # type: ignore[no-any-return]
