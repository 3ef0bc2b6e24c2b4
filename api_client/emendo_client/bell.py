"""Ringing: the one Celery message that tells a worker that a shard's inbox has jobs.

Losing a ring loses nothing: the bell expires and the sweeper rings again. So a broker that is down, or cannot be used
at all, never fails a job that Redis has accepted.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from emendo_config import Settings
from emendo_config.shards import queue_of

if TYPE_CHECKING:
    from celery import Celery

logger = logging.getLogger(__name__)


class Bell:
    """Publishes `emendo.drain(shard)`; thread-safe."""

    def __init__(self, settings: Settings, app: Celery | None = None) -> None:
        self._settings = settings
        self._app = app
        self._lock = threading.Lock()

    def ring(self, shard: str) -> bool:
        """Publishes one drain message; False when that failed, for whatever reason, which is logged."""
        try:
            self._publish(shard)
        except Exception as error:  # noqa: BLE001  # kombu raises KeyError, ValueError and what its transports raise
            logger.warning(  # its kind only: what it says may hold a piece of the broker's URL
                "the broker cannot be used; the sweeper will ring again",
                extra={"shard": shard, "error": type(error).__name__},
            )
            return False
        return True

    def ring_each(self, shards: Iterable[str]) -> None:
        """Publishes one drain message for each shard; gives up at the first that fails, since the others would, too."""
        for shard in shards:
            if not self.ring(shard):
                return

    def _publish(self, shard: str) -> None:
        # Celery takes longer to import than the rest of the client; who only reads never needs it.
        from emendo_config.celery_app import DRAIN_TASK, create_app

        with self._lock:
            if self._app is None:
                self._app = create_app(self._settings, only_sends=True)
            app = self._app
        app.send_task(
            DRAIN_TASK,
            args=[shard],
            queue=queue_of(shard),
            # A ring that waited longer was rung again; two drains of a shard do no harm, only less good.
            expires=self._settings.visibility_timeout,
            retry=False,
        )

    def close(self) -> None:
        """Closes the broker connections."""
        with self._lock:
            if self._app is not None:
                self._app.close()
                self._app = None
