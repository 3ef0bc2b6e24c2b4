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

from celery.apps import worker
from celery.concurrency.thread import TaskPool
from celery.platforms import EX_FAILURE
from celery.signals import worker_shutting_down
from celery.worker import state

logger = logging.getLogger(__name__)

_STDERR = 2


def install(controller: Any) -> None:
    """Takes the signals over from Celery; does nothing for a pool of processes, whose tasks Celery can end.

    Args:
        controller: Celery's `WorkController`; this is its process's main thread.
    """
    if isinstance(controller.pool, TaskPool):
        stop = _Stop(controller.hostname, controller.app.conf.worker_soft_shutdown_timeout)
        signal.signal(signal.SIGINT, stop.on_interrupt)
        signal.signal(signal.SIGQUIT, stop.on_quit)


def say_in_the_log() -> None:
    """Makes lines of the log of what Celery prints when a signal comes, such as `worker: Warm shutdown`."""
    worker.safe_say = _say  # type: ignore[attr-defined]  # celery-types lacks it


def _say(message: str, _: Any = None) -> None:
    # The signal may come while this thread writes to the log, so neither its lock nor its buffer is used.
    record = logging.LogRecord(worker.__name__, logging.INFO, "", 0, message, None, None)
    for handler in logging.getLogger().handlers:
        os.write(_STDERR, f"{handler.format(record)}\n".encode())


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
