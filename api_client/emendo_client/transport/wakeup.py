"""Wake-ups: the Celery message that tells a worker that a shard's inbox has jobs.

A lost wake-up loses no job: its key expires, and the sweeper sends another. So a broker that is down or misconfigured
never fails a job that Redis has accepted.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from emendo_config import Settings
from emendo_config.forks import leave_to_the_parent, notice_fork, reset_in_children
from emendo_config.queues import names_at_broker
from emendo_config.shards import queue_of

if TYPE_CHECKING:
    from celery import Celery
    from kombu.pools import ProducerPool

logger = logging.getLogger(__name__)


class ShardNotifier:
    """Publishes `emendo.drain(shard)`; thread-safe.

    Its connections are its own. Those of kombu's pools belong to the process, and no client could close them.
    """

    def __init__(self, settings: Settings, app: Celery | None = None) -> None:
        self._settings = settings
        self._app = app
        self._producers: ProducerPool | None = None
        self._lock = threading.Lock()
        reset_in_children(self)

    def reset_after_fork(self) -> None:
        """Connections to the broker stay with the parent; the next wake-up opens new ones."""
        self._lock = threading.Lock()
        leave_to_the_parent(self._producers)
        leave_to_the_parent(self._app)
        self._producers = self._app = None

    def notify(self, shard: str) -> bool:
        """Publishes one drain message. Any failure is logged, and the answer is False."""
        try:
            self._publish(shard)
        except Exception as error:  # noqa: BLE001  # kombu lets KeyError, ValueError and its transports' errors pass
            logger.warning(  # the kind of error only: its text may hold a piece of the broker's URL
                "the broker cannot be used; the sweeper will send the wake-up",
                extra={"shard": shard, "error": type(error).__name__},
            )
            return False
        return True

    def notify_each(self, shards: Iterable[str]) -> None:
        """Publishes one drain message for each shard. Stops at the first failure, since the others would fail too."""
        for shard in shards:
            if not self.notify(shard):
                return

    def _publish(self, shard: str) -> None:
        # Importing Celery takes longer than the rest of the client, and a client that only reads never needs it.
        from emendo_config.celery_app import DRAIN_TASK

        notice_fork()
        app, producers = self._open()
        with producers.acquire(block=True, timeout=self._settings.broker_timeout) as producer:
            app.send_task(
                DRAIN_TASK,
                args=[shard],
                queue=names_at_broker(self._settings.broker_url, self._settings.key_prefix)[queue_of(shard)],
                # By then the sweeper has sent another one. Two drains of one shard are harmless, but slower.
                expires=self._settings.visibility_timeout,
                retry=False,
                producer=producer,
            )

    def _open(self) -> tuple[Celery, ProducerPool]:
        from kombu.pools import ProducerPool

        from emendo_config.celery_app import create_app

        with self._lock:
            if self._app is None:
                self._app = create_app(self._settings, only_sends=True)
            if self._producers is None:
                limit = self._app.conf.broker_pool_limit
                self._producers = ProducerPool(self._app.connection_for_write().Pool(limit=limit), limit=limit)
            return self._app, self._producers

    def close(self) -> None:
        """Closes the broker connections; the next wake-up would open new ones."""
        with self._lock:
            producers, self._producers = self._producers, None
        if producers is not None:
            producers.force_close_all()  # type: ignore[attr-defined]  # not in the stubs
            producers.connections.force_close_all()
