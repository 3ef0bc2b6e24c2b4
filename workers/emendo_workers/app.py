"""The worker's Celery app: `celery -A emendo_workers.app worker`, which `emendo worker` calls."""

from __future__ import annotations

import gc
import logging
import threading
from typing import Any

from celery.exceptions import WorkerShutdown
from celery.platforms import EX_FAILURE
from celery.signals import (
    setup_logging,
    worker_process_shutdown,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)
from celery.worker import state

from emendo_client.errors import ConfigurationError
from emendo_config import Settings, traces
from emendo_config.celery_app import create_app
from emendo_config.logs import configure_logging
from emendo_config.queues import INTERACTIVE, names_at_broker
from emendo_config.tracebacks import print_safely
from emendo_workers.intake.sweeper import Sweeper
from emendo_workers.jobs.store_outages import is_away
from emendo_workers.runtime import broker_transport, remote_control, stop_signals
from emendo_workers.runtime.concurrency import MIN_LIMIT
from emendo_workers.services import close_services, open_services, stop_taking
from emendo_workers.tasks import register

broker_transport.install()
settings = Settings()
app = create_app(settings)
register(app, settings)
app.conf.worker_consumer = "emendo_workers.runtime.celery_consumer:Consumer"
remote_control.limit(app, obeys_all=settings.remote_control == "all")

logger = logging.getLogger(__name__)

_sweepers: list[Sweeper] = []
_stopping = threading.Event()
# New objects after which Python looks for reference cycles. A batch makes tens of thousands and leaves no cycle; the
# default of 700 took a fifth of the worker's time.
_GC_THRESHOLD = 50_000
# Threads that background drains leave free for interactive ones.
_RESERVED_THREADS = 2
# Seconds between two tries to start while Redis is away.
_START_RETRY_PAUSE = 1.0
# Seconds to wait for the last sweep when the worker ends.
_LAST_SWEEP_TIMEOUT = 5.0


@setup_logging.connect
def _configure_logging(**_: Any) -> None:
    configure_logging(settings)
    stop_signals.say_in_the_log()
    print_safely()


@worker_ready.connect
def _start(sender: Any, **_: Any) -> None:
    stop_signals.install(sender.controller)
    try:
        _set_up(sender)
    except ConfigurationError as error:
        raise WorkerShutdown(str(error)) from error
    # Celery would only log the error and keep a worker without a sweeper.
    except Exception as error:  # noqa: BLE001  # any other error may pass
        _warn(error)
        threading.Thread(target=_start_later, args=(sender,), name="emendo-start", daemon=True).start()


def _start_later(sender: Any) -> None:
    while not _stopping.wait(_START_RETRY_PAUSE):
        try:
            _set_up(sender)
        except ConfigurationError as error:
            logger.critical("the worker cannot work here and ends", exc_info=error)
            state.should_stop = EX_FAILURE  # type: ignore[assignment]  # as Celery's own signal handlers do
        except Exception as error:  # noqa: BLE001  # as above
            _warn(error)
            continue
        return


def _warn(error: Exception) -> None:
    fields, away = {"error": type(error).__name__}, is_away(error)
    if away:
        fields["check"] = "EMENDO_REDIS_URL, and EMENDO_CONTROL_URL where it is set"
    # The kind of error is enough for an outage; any other one may never pass, so it is logged in full.
    logger.warning("the worker cannot start yet and tries again", extra=fields, exc_info=None if away else error)


def _set_up(sender: Any) -> None:
    services = open_services(settings, app)
    threads = sender.controller.concurrency
    serves_interactive = (
        names_at_broker(settings.broker_url, settings.key_prefix)[INTERACTIVE] in app.amqp.queues.consume_from
    )
    services.background_limiter.set_limit(max(MIN_LIMIT, threads - (_RESERVED_THREADS if serves_interactive else 0)))
    if settings.inference_drains is None:
        services.chat_limiter.set_limit(max(MIN_LIMIT, threads // 2))
    # Imported modules live as long as the process, so the collector need not look at them again.
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD, 20, 20)
    sweeper = Sweeper(services)
    sweeper.start()
    _sweepers.append(sweeper)


@worker_shutting_down.connect
def _stop_taking(sig: str, **_: Any) -> None:
    # Celery begins to stop when this returns, so it must not wait.
    _stopping.set()
    stop_taking()
    for sweeper in _sweepers:
        sweeper.stop()
    logger.info("the worker takes no more jobs and finishes those that it has", extra={"signal": sig})


@worker_process_shutdown.connect
def _export_the_last_spans(**_: Any) -> None:
    # A process of the prefork pool ends without exit handlers.
    traces.flush()


@worker_shutdown.connect
def _stop(**_: Any) -> None:
    while _sweepers:
        _sweepers.pop().join(_LAST_SWEEP_TIMEOUT)
    # Last, because drains that were finishing needed their leases renewed.
    close_services()
