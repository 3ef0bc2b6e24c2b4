"""Flower's listener to the broker's events, for a broker that goes and comes back.

Flower's own doubles its pauses without an end: after an outage of an hour it misses up to another hour of events.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from time import sleep
from typing import Any

from celery.events import EventReceiver
from flower.events import Events

# Seconds between two looks for the broker.
PAUSE = 3.0

logger = logging.getLogger(__name__)


class BrokerEvents(Events):  # type: ignore[misc]  # Flower has no types
    """The thread that reads events, and looks for the broker as long as it is away.

    Attributes:
        on_connected: called in the event loop whenever events begin to come.
    """

    on_connected: Callable[[], object] | None = None
    # None until the broker was found, or missed, for the first time.
    _is_connected: bool | None = None

    def run(self) -> None:
        """Reads until the process ends."""
        logging.getLogger("kombu.mixins").setLevel(logging.WARNING)  # it tells of each connection, too
        while True:
            try:
                with self.capp.connection() as connection:
                    _Receiver(self, connection).capture(limit=None, timeout=None, wakeup=True)
            except Exception as error:  # noqa: BLE001  # whatever it was, events must come again
                self._lost(error)
            sleep(PAUSE)

    def connected(self) -> None:
        """Called by the receiver when events come."""
        if self._is_connected is False:
            logger.info("the broker is back")
        self._is_connected = True
        if self.on_connected is not None:
            self.io_loop.add_callback(self.on_connected)

    def _lost(self, error: Exception) -> None:
        if self._is_connected is not False:
            logger.warning("no events come, since the broker cannot be reached: %s", error, extra={"pause": PAUSE})
        self._is_connected = False
        with suppress(Exception):  # each of these connections would fail once more
            pool = self.capp.pool
            pool.resize(pool.limit, reset=True)

    async def on_enable_events(self) -> None:
        """Called every few seconds; without a broker it could only warn once more."""
        if self._is_connected:
            await super().on_enable_events()


class _Receiver(EventReceiver):
    connect_max_retries = 1  # kombu would go on without an end, at its own pauses

    def __init__(self, events: BrokerEvents, connection: Any) -> None:
        super().__init__(connection, handlers={"*": events.on_event}, app=events.capp)
        self._events = events

    def on_consume_ready(self, *args: Any, **more: Any) -> None:
        """Called when the queue of events is bound."""
        super().on_consume_ready(*args, **more)
        self._events.connected()
