"""The Celery app, made in the same way by clients, which only send, and by workers, which only receive.

A comment beside each setting gives its reason; the facts come from the documentation of Celery 5.7 and kombu 5.7.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from celery import Celery
from celery.loaders.app import AppLoader
from kombu import Exchange, Queue

from emendo_config.queues import INTERACTIVE, MAINTENANCE, is_redis, names_at_broker
from emendo_config.sentinel_urls import is_sentinel, read_sentinel_url
from emendo_config.settings import Settings
from emendo_config.store.sentinels import sentinel_options
from emendo_config.tls import amqp_options, tls_options, without_tls_options
from emendo_config.urls import socket_broker

DRAIN_TASK = "emendo.drain"
HOUSEKEEPING_TASK = "emendo.housekeeping"
HOUSEKEEPING_INTERVAL = 60.0


class _Loader(AppLoader):
    """Imports from Python's path. Celery's own loader puts the current folder first, where anybody may have written."""

    def import_from_cwd(self, module: str, imp: Callable[..., Any] | None = None, package: str | None = None) -> Any:
        return (imp or self.import_module)(module, package=package)

    def read_configuration(self, env: str = "") -> dict[str, Any]:  # noqa: ARG002  # the base class's signature
        """Reads none: CELERY_CONFIG_MODULE would name a module to be run."""
        return {}


def create_app(settings: Settings, *, only_sends: bool = False) -> Celery:
    """The Celery app for these settings: queues, routes, acknowledgement, time limits.

    Args:
        settings: where the broker is and how long things may take.
        only_sends: True for a caller that must not wait for a broker that does not answer.

    Returns:
        An app with no tasks; workers add theirs in `emendo_workers.tasks`.
    """
    # Without fix-ups: the one for Django puts the current folder on Python's path for good.
    app = Celery("emendo", set_as_current=False, loader=_Loader, fixups=[])
    names = names_at_broker(settings.broker_url, settings.key_prefix)
    if not is_redis(settings.broker_url):
        app.conf.update(
            control_exchange=f"{settings.key_prefix}pidbox", event_exchange=f"{settings.key_prefix}celeryev"
        )
    app.conf.update(
        **_broker(settings.broker_url),
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
        # After a lost connection Celery would take fewer messages for a while, and raise their number from a thread
        # that ends a task. On an amqp broker that is a second reader of the connection, which then breaks or stalls.
        worker_enable_prefetch_count_reduction=False,
        worker_soft_shutdown_timeout=10.0,
        worker_enable_remote_control=True,
        worker_send_task_events=True,
        worker_hijack_root_logger=False,
        task_send_sent_event=False,  # each job's own events say more than the drain's
        # An exchange of its own for each: queues bound to one exchange and key would all get every message.
        task_queues=[Queue(name, Exchange(name), routing_key=name) for name in names.values()],
        task_default_queue=names[INTERACTIVE],
        task_create_missing_queues=False,  # a typo in --queues must fail, not make a queue without a reader
        task_routes={DRAIN_TASK: {"queue": names[INTERACTIVE]}, HOUSEKEEPING_TASK: {"queue": names[MAINTENANCE]}},
        beat_schedule={
            "housekeeping": {
                "task": HOUSEKEEPING_TASK,
                "schedule": HOUSEKEEPING_INTERVAL,
                "options": {"expires": HOUSEKEEPING_INTERVAL},
            }
        },
        broker_connection_retry_on_startup=True,
        # A key of the broker that holds another type must not end every worker.
        broker_channel_error_retry=is_redis(settings.broker_url),
        broker_connection_max_retries=None,  # a worker waits for its broker, however long it is away
        broker_pool_acquire_timeout=settings.broker_timeout,
        # The sweeper publishes again: a web request must not wait for a broker that is down.
        task_publish_retry=False,
        broker_transport_options=_transport_options(settings, only_sends=only_sends),
    )
    return app


def _broker(url: str) -> dict[str, object]:
    """The settings of Celery that say where the broker is; certificates are required unless the URL says otherwise."""
    if is_sentinel(url):
        found = read_sentinel_url(url)
        parts = urlsplit(found.master_url)
        userinfo, at, _ = parts.netloc.replace(";", "%3B").rpartition("@")
        urls = [f"sentinel://{userinfo}{at}{_host(host)}:{port}{parts.path}" for host, port in found.sentinels]
        options = tls_options(found.master_url)
    else:
        urls = [socket_broker(each) if each.startswith("unix://") else each for each in url.split(";")]
        options = tls_options(urls[0])  # the settings refuse URLs that differ in it
    if not options:
        return {"broker_url": ";".join(urls)}
    if urls[0].startswith("amqps://"):
        options = amqp_options(options, [urlsplit(each).hostname or "localhost" for each in urls])
    # For all hosts at once: kombu itself reads URLs whose options say nothing as consent to any certificate.
    return {"broker_url": ";".join(map(without_tls_options, urls)), "broker_use_ssl": options}


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _transport_options(settings: Settings, *, only_sends: bool) -> dict[str, object]:
    if not is_redis(settings.broker_url):
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
    if is_sentinel(settings.broker_url):
        found = read_sentinel_url(settings.broker_url)
        options |= {"master_name": found.service, "sentinel_kwargs": sentinel_options(found)}
    if only_sends:
        options |= {"socket_timeout": settings.broker_timeout, "max_retries": 0}
    return options
