"""The Celery app, made the same way by clients (who only send) and workers (who only receive).

Why each setting has its value is said beside it; facts come from Celery 5.7's and kombu 5.7's documentation.
"""

from __future__ import annotations

from celery import Celery
from kombu import Exchange, Queue

from emendo_config.queues import INTERACTIVE, MAINTENANCE, QUEUES
from emendo_config.settings import Settings

DRAIN_TASK = "emendo.drain"
HOUSEKEEPING_TASK = "emendo.housekeeping"
HOUSEKEEPING_INTERVAL = 60.0


def create_app(settings: Settings, *, only_sends: bool = False) -> Celery:
    """The Celery app for these settings: queues, routes, acknowledgement, time limits.

    Args:
        settings: where the broker is and how long things may take.
        only_sends: True for a caller who must not wait for a broker that does not answer.

    Returns:
        An app with no tasks; workers add theirs in `emendo_workers.tasks`.
    """
    app = Celery("emendo", set_as_current=False)
    app.conf.update(
        broker_url=settings.broker_url,
        result_backend=None,  # the job record is the result; a second copy could only disagree
        task_ignore_result=True,
        # JSON only: a pickle in a shared broker is remote code execution.
        task_serializer="json",
        result_serializer="json",
        accept_content=["json"],
        enable_utc=True,
        # A killed worker must not take its message with it; every task here is safe to run twice.
        task_acks_late=True,
        task_retry_on_worker_lost=True,
        task_reject_on_worker_lost=True,
        # A failed job goes to our dead letters, never back to the head of the queue.
        task_acks_on_failure=True,
        task_acks_on_timeout=True,
        task_soft_time_limit=settings.task_soft_time_limit,
        task_time_limit=settings.task_time_limit,
        worker_prefetch_multiplier=1,  # the default 4 hides waiting drains behind running ones
        worker_disable_prefetch=True,  # and on a Redis broker, take a message only when a thread is free for it
        worker_cancel_long_running_tasks_on_connection_loss=True,
        worker_soft_shutdown_timeout=10.0,
        worker_enable_remote_control=True,
        worker_send_task_events=True,
        worker_hijack_root_logger=False,
        task_send_sent_event=False,  # each job's own events say more than the drain's
        # An exchange of its own for each: queues bound to one exchange and key would all get every message.
        task_queues=[Queue(name, Exchange(name), routing_key=name) for name in QUEUES],
        task_default_queue=INTERACTIVE,
        task_create_missing_queues=False,  # a typo in --queues must fail, not make a queue nobody reads
        task_routes={DRAIN_TASK: {"queue": INTERACTIVE}, HOUSEKEEPING_TASK: {"queue": MAINTENANCE}},
        beat_schedule={
            "housekeeping": {
                "task": HOUSEKEEPING_TASK,
                "schedule": HOUSEKEEPING_INTERVAL,
                "options": {"expires": HOUSEKEEPING_INTERVAL},
            }
        },
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # a worker waits for its broker, however long it is away
        broker_pool_acquire_timeout=settings.broker_timeout,
        # Ringing again is the sweeper's work: a web request must not wait for a broker that is down.
        task_publish_retry=False,
        broker_transport_options=_transport_options(settings, only_sends=only_sends),
    )
    return app


def _transport_options(settings: Settings, *, only_sends: bool) -> dict[str, object]:
    if not settings.broker_url.startswith(("redis", "rediss")):
        return {}
    options: dict[str, object] = {
        "visibility_timeout": settings.visibility_timeout,
        "unacked_restore_interval": 5,  # kombu's default looks only every ~100 s
        "unacked_restore_throttle": 1,
        "socket_timeout": 15.0,  # kombu waits for ever by default
        # A connection that cannot be made is tried again by kombu for this long (4 s by default).
        "connect_retries_timeout": settings.broker_timeout,
        "socket_connect_timeout": settings.broker_timeout,
        "socket_keepalive": True,
        "health_check_interval": 25,
        "global_keyprefix": settings.key_prefix,  # two Emendo installations may share one broker
    }
    if only_sends:
        options |= {"socket_timeout": settings.broker_timeout, "max_retries": 0}
    return options
