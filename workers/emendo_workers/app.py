"""The worker's Celery app: `celery -A emendo_workers.app worker` (or `emendo worker`, which calls it)."""

from __future__ import annotations

import gc
import logging
import threading
from typing import Any

from celery.exceptions import WorkerShutdown
from celery.platforms import EX_FAILURE
from celery.signals import (
    setup_logging,
    worker_process_init,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)
from celery.worker import state

from emendo_client.errors import ConfigurationError
from emendo_config import Settings
from emendo_config.celery_app import create_app
from emendo_config.logs import configure_logging
from emendo_config.queues import INTERACTIVE
from emendo_workers import transport
from emendo_workers.services import close_services, open_services
from emendo_workers.slots import FEWEST
from emendo_workers.store_failures import is_away
from emendo_workers.sweeper import Sweeper
from emendo_workers.tasks import register

transport.install()
settings = Settings()
app = create_app(settings)
register(app, settings)

logger = logging.getLogger(__name__)

_sweepers: list[Sweeper] = []
_ending = threading.Event()
# Objects made before the collector looks for cycles. A batch makes tens of thousands and leaves no cycle; looking
# every 700, as is the default, took a fifth of the worker's time.
_COLLECT_AFTER = 50_000
# Threads that chunks of batches, maintenance and the chat model leave to what somebody waits for.
_KEPT_FREE = 2
# Seconds between two tries to begin while Redis is away.
_TRY_AGAIN = 1.0
# Seconds the sweeper gets for a look that is under way when the worker ends.
_LAST_LOOK = 5.0


@setup_logging.connect
def _configure_logging(**_: Any) -> None:
    configure_logging(settings)


@worker_process_init.connect
def _forget_the_parents_connections(**_: Any) -> None:
    # A prefork child must not share sockets with its parent; it opens its own at its first task.
    close_services()


@worker_ready.connect
def _begin(sender: Any, **_: Any) -> None:
    try:
        _set_up(sender)
    except ConfigurationError as error:
        raise WorkerShutdown(str(error)) from error
    # Celery would only log it, and the worker work without a sweeper for as long as it lives.
    except Exception as error:  # noqa: BLE001  # whatever it was
        _warn(error)
        threading.Thread(target=_begin_later, args=(sender,), name="emendo-beginning", daemon=True).start()


def _begin_later(sender: Any) -> None:
    while not _ending.wait(_TRY_AGAIN):
        try:
            _set_up(sender)
        except ConfigurationError as error:
            logger.critical("the worker cannot work here and ends", exc_info=error)
            state.should_stop = EX_FAILURE  # type: ignore[assignment]  # what Celery's own signal handlers set
        except Exception as error:  # noqa: BLE001  # as above
            _warn(error)
            continue
        return


def _warn(error: Exception) -> None:
    fields, away = {"error": type(error).__name__}, is_away(error)
    if away:
        fields["check"] = "EMENDO_REDIS_URL, and EMENDO_CONTROL_URL where it is set"
    # Of an outage the kind says all; what may never pass is said in full.
    logger.warning("the worker cannot begin yet and tries again", extra=fields, exc_info=None if away else error)


def _set_up(sender: Any) -> None:
    services = open_services(settings, app)
    threads = sender.controller.concurrency
    is_for_all = INTERACTIVE in app.amqp.queues.consume_from
    services.background_slots.resize(max(FEWEST, threads - (_KEPT_FREE if is_for_all else 0)))
    if settings.inference_drains is None:
        services.chat_slots.resize(max(FEWEST, threads // 2))
    # What was imported lives as long as the process: the collector need not walk it again.
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 20)
    sweeper = Sweeper(services)
    sweeper.start()
    _sweepers.append(sweeper)


@worker_shutting_down.connect
def _stop_sweeping(**_: Any) -> None:
    # Celery begins to stop when this returns, so nothing is waited for here.
    _ending.set()
    for sweeper in _sweepers:
        sweeper.stop()


@worker_shutdown.connect
def _sign_off(**_: Any) -> None:
    while _sweepers:
        _sweepers.pop().join(_LAST_LOOK)
    # Only now: drains that were finishing still needed their leases kept.
    close_services()
