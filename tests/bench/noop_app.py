"""Celery at its leanest: a task that does nothing, no results, no events, acknowledged when it begins.

The worker says once that a whole run is over, so that counting costs nothing and nobody polls.
"""

from __future__ import annotations

import itertools
import os

import redis
from celery import Celery

# Of all keys, in a Redis that others use too.
PREFIX = os.environ.get("NOOP_PREFIX", "")
DONE = "noop-done"


def make(broker_url: str, prefix: str) -> Celery:
    """The app, for the worker and for the sender."""
    app = Celery("noop", broker=broker_url, set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        task_default_queue="noop",
        broker_transport_options={"global_keyprefix": prefix} if prefix else {},
    )
    return app


if "NOOP_BROKER" in os.environ:
    app = make(os.environ["NOOP_BROKER"], PREFIX)
    _ran = itertools.count(1)
    _redis = redis.Redis.from_url(os.environ["NOOP_REDIS"], protocol=2)

    @app.task(name="noop")
    def noop(last: int) -> None:
        """Nothing; the one that is the last-th to run says so."""
        if next(_ran) == last:
            _redis.lpush(f"{PREFIX}{DONE}", last)
