"""How signals end a worker whose tasks run in threads.

After SIGTERM or SIGINT it takes no more jobs, and finishes those that it has. After SIGQUIT or a second SIGINT it has
`worker_soft_shutdown_timeout` seconds left, and then ends as if it were killed. One more of these ends it at once.

SIGTERM is left to Celery. For the other two Celery cancels its tasks, which cannot be done to threads. It would fail
with a traceback, and wait for the threads without an end.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from types import FrameType
from typing import Any

from celery.concurrency.thread import TaskPool
from celery.platforms import EX_FAILURE
from celery.signals import worker_shutting_down
from celery.worker import state

logger = logging.getLogger(__name__)


def install(worker: Any) -> None:
    """Takes the signals over from Celery; does nothing for a pool of processes, whose tasks Celery can end.

    Args:
        worker: Celery's `WorkController`; this is its process's main thread.
    """
    if isinstance(worker.pool, TaskPool):
        stop = _Stop(worker.hostname, worker.app.conf.worker_soft_shutdown_timeout)
        signal.signal(signal.SIGINT, stop.on_interrupt)
        signal.signal(signal.SIGQUIT, stop.on_quit)


class _Stop:
    def __init__(self, hostname: str, seconds: float) -> None:
        self._hostname = hostname
        self._seconds = seconds
        self._is_hurried = False

    def on_interrupt(self, number: int, _: FrameType | None) -> None:
        """SIGINT."""
        signal.signal(signal.SIGINT, self.on_quit)
        self._begin(number)

    def on_quit(self, number: int, _: FrameType | None) -> None:
        """SIGQUIT, and a second SIGINT."""
        if self._is_hurried:
            self._end()
        self._is_hurried = True
        deadline = threading.Timer(self._seconds, self._end)
        deadline.daemon = True
        deadline.start()
        self._begin(number)

    def _begin(self, number: int) -> None:
        name = signal.Signals(number).name
        worker_shutting_down.send(sender=self._hostname, sig=name, how="Warm", exitcode=EX_FAILURE)
        state.should_stop = EX_FAILURE  # type: ignore[assignment]  # as Celery's own signal handlers do

    def _end(self) -> None:
        logger.warning("the worker ends with jobs under way; other workers continue them when its leases run out")
        os._exit(EX_FAILURE)
