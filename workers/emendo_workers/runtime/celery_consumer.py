"""Celery's consumer, changed so that no message ends the worker, none is logged, and none waits with one that stops.

Celery ends the worker when a message's values have another type than it expects. It logs the whole body of each message
that it cannot use. Here a message is checked and rebuilt first (`task_messages.py`), and a drop is logged without it.

A worker that is told to stop reads on until Celery's loop looks at it, up to a second. Celery would begin the task of
such a message. It would keep a message of a Redis broker that nobody reads any more until the last task has ended. Here
both go back to their queue, for another worker.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, ClassVar

from celery.worker import consumer, state

from emendo_workers.runtime import broker_transport
from emendo_workers.runtime.task_messages import MalformedMessageError, make_safe

logger = logging.getLogger(__name__)

# Workers tell each other nothing: the control Redis knows who lives. Each message less is one less to trust.
_LEFT_OUT = ("celery.worker.consumer.mingle:Mingle", "celery.worker.consumer.gossip:Gossip")


class Consumer(consumer.Consumer):
    """A consumer that drops what is none of Emendo's messages."""

    class Blueprint(consumer.Consumer.Blueprint):  # type: ignore[misc,valid-type]  # the stubs have it as a value
        """The steps without those that listen to other workers."""

        default_steps: ClassVar = [step for step in consumer.Consumer.Blueprint.default_steps if step not in _LEFT_OUT]

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], Any]:
        """The function that is called with each message of a queue."""
        handle = super().create_task_handler(*args, **kwargs)

        def handle_checked(message: Any) -> Any:
            if _is_stopping():
                return message.reject_log_error(logger, self.connection_errors, requeue=True)  # type: ignore[attr-defined]  # not in the stubs
            try:
                make_safe(message)
            except MalformedMessageError as problem:
                return self._drop(message, str(problem))
            return handle(message)

        return handle_checked

    def stop(self) -> None:
        """Leaves the queues, and returns what came meanwhile. Tasks that have begun are waited for afterwards."""
        super().stop()
        channel = getattr(self.task_consumer, "channel", None)  # type: ignore[attr-defined]  # not in the stubs
        if isinstance(channel, broker_transport.Channel):
            channel.return_unread()

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Drops a message whose body cannot be decoded."""
        self._drop(message, f"its body cannot be decoded ({type(exc).__name__})")

    def on_unknown_message(self, _body: Any, message: Any) -> None:
        """Drops a message that is no task's."""
        self._drop(message, "it is no task's")

    def on_unknown_task(self, _body: Any, message: Any, _exc: Exception) -> None:
        """Drops a message that names an unknown task."""
        self._drop(message, "it names no task of Emendo")

    def on_invalid_task(self, _body: Any, message: Any, _exc: Exception) -> None:
        """Drops a message that Celery refuses."""
        self._drop(message, "its task cannot be run")

    def _drop(self, message: Any, reason: str) -> None:
        logger.warning("a message of the broker is malformed and was dropped", extra={"reason": reason})
        # Acknowledged, not rejected: a broker may keep what is rejected, and the message may hold anything.
        message.ack_log_error(logger, self.connection_errors)  # type: ignore[attr-defined]  # not in the stubs


def _is_stopping() -> bool:
    """True from the signal on. Celery notes the exit code, which may be 0."""
    noted: Any = state.should_stop
    return noted is not None and noted is not False
