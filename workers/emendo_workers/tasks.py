"""The Celery tasks: each parses its arguments and calls a handler."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from celery import Celery, Task

from emendo_config import Settings
from emendo_config.celery_app import DRAIN_TASK, HOUSEKEEPING_TASK
from emendo_workers.intake import inbox
from emendo_workers.intake.drain import Drain
from emendo_workers.maintenance.housekeeping import keep_house
from emendo_workers.services import open_services

logger = logging.getLogger(__name__)
T = TypeVar("T")


def register(app: Celery, settings: Settings) -> None:
    """Adds Emendo's tasks to the app."""

    # Acknowledged when it begins: the message wakes a shard and is no job. If it is lost, the sweeper wakes the shard
    # when the lease runs out, so late acknowledgement would only add a stale second message. And kombu 5.7 ends the
    # worker when the broker goes away while messages are unacknowledged, because Channel.close restores them over a
    # closed connection.
    @app.task(name=DRAIN_TASK, bind=True, acks_late=False)
    def drain(self: Task[Any, Any], shard: str) -> int:
        """Works one shard's inbox; how many attempts at jobs were made."""
        return _contained(lambda: _drain(shard, self.request.hostname))

    def _drain(shard: str, hostname: str | None) -> int:
        services = open_services(settings, app)
        if not inbox.is_known(services.store, shard):
            logger.warning("a message names a shard that never had a job; it was dropped")
            return 0
        return Drain(services, shard, hostname).run()

    @app.task(name=HOUSEKEEPING_TASK)
    def housekeeping() -> dict[str, int]:
        """Cleans up what has expired; see `keep_house`."""
        return _contained(_keep_house)

    def _keep_house() -> dict[str, int]:
        services = open_services(settings, app)
        return keep_house(services.store, services.notifier, services.store.control_time())


class TaskFailedError(Exception):
    """A task failed; the log says why. Its text is the type of the error."""


def _contained(run: Callable[[], T]) -> T:
    """The result of `run`; its error is logged here, since Celery publishes the texts of errors as events.

    Raises:
        TaskFailedError: it failed.
    """
    try:
        return run()
    except Exception as error:  # of any kind: Celery must not see it
        logger.exception("a task failed; the sweeper or beat begins it again")
        failed = TaskFailedError(type(error).__name__)
    raise failed
