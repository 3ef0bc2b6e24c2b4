"""The Celery tasks: a few lines each, the work is elsewhere."""

from __future__ import annotations

import time
from typing import Any

from celery import Celery, Task

from emendo_config import Settings
from emendo_config.celery_app import DRAIN_TASK, HOUSEKEEPING_TASK
from emendo_workers.drain import Drain
from emendo_workers.housekeeping import keep_house
from emendo_workers.services import open_services


def register(app: Celery, settings: Settings) -> None:
    """Adds Emendo's tasks to the app."""

    # Acknowledged when it begins: a ring is not a job. One that is lost is rung again when the lease runs out,
    # so late acknowledgement would add nothing but a stale second ring (and kombu 5.7 ends the worker when the
    # broker goes away while messages are unacknowledged: Channel.close restores them over a closed connection).
    @app.task(name=DRAIN_TASK, bind=True, acks_late=False)
    def drain(self: Task[Any, Any], shard: str) -> int:
        """Works one shard's inbox; the number of attempts made."""
        return Drain(open_services(settings, app), str(shard), self.request.hostname).run()

    @app.task(name=HOUSEKEEPING_TASK)
    def housekeeping() -> dict[str, int]:
        """Drops what has expired from the lists that name it."""
        return keep_house(open_services(settings, app), time.time())
