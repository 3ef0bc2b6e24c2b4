"""Flower behind one door: everything asks for the login, and what is not a look asks for a setting.

Flower reads its options from the environment and from a `flowerconfig.py` of the current folder, and serves its metrics
to everybody. So its own start is not used: no file is read, and of the environment only what opens nothing.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import logging
import os
import signal
import sys
from typing import Any

from flower.app import Flower
from flower.command import ENV_VAR_PREFIX, apply_env_options, extract_settings
from flower.options import options
from flower.urls import settings as flower_settings
from flower.views import BaseHandler
from tornado.ioloop import IOLoop
from tornado.web import HTTPError

from emendo_config import ConfigurationError, Settings
from emendo_config.logs import configure_logging
from emendo_ops.dashboard.events import BrokerEvents

# These of Flower's own variables (FLOWER_…) open nothing: looks, limits, and Flower's certificate.
HARMLESS = frozenset(
    {
        "auto_refresh",
        "broker_api",
        "ca_certs",
        "certfile",
        "enable_events",
        "inspect_timeout",
        "keyfile",
        "max_tasks",
        "max_workers",
        "natural_time",
        "purge_offline_workers",
        "task_runtime_metric_buckets",
        "tasks_columns",
        "url_prefix",
        "xheaders",
    }
)
_LOOKS = frozenset({"GET", "HEAD"})
# The list of tasks is asked for by POST, since its parameters are long.
_LOOK_BY_POST = "/tasks/datatable"
_BROKER_PAGES = ("/broker", "/api/queues/length")
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 401, 403, 404

logger = logging.getLogger(__name__)


class Dashboard(Flower):  # type: ignore[misc]  # Flower has no types
    """Flower, which answers nobody without the login. `read_only` of its options leaves only looks."""

    def __init__(self, capp: Any, **more: Any) -> None:
        loop = IOLoop.current()
        events = BrokerEvents(
            capp,
            loop,
            enable_events=options.enable_events,
            max_workers_in_memory=options.max_workers,
            max_tasks_in_memory=options.max_tasks,
        )
        super().__init__(options=options, capp=capp, events=events, io_loop=loop, **more)

    def start(self) -> None:
        """Runs until the loop is stopped. Workers are asked what they do whenever the broker comes."""
        self.events.on_connected = self.update_workers
        self.events.start()
        self.started = True
        self.io_loop.start()

    def find_handler(self, request: Any, **more: Any) -> Any:
        """The handler of a request; tornado asks for it before anything of the request is used."""
        problem = self._problem(request)
        if problem is None:
            return super().find_handler(request, **more)
        return self.get_handler_delegate(request, _Refusal, {"problem": problem})

    def _problem(self, request: Any) -> tuple[int, str] | None:
        if not _has_login(request.headers.get("Authorization", ""), self.options.basic_auth):
            return _UNAUTHORIZED, "Access denied"
        prefix = f"/{self.options.url_prefix.strip('/')}" if self.options.url_prefix else ""
        is_look = request.method in _LOOKS or (request.method, request.path) == ("POST", prefix + _LOOK_BY_POST)
        if self.options.read_only and not is_look:
            return _FORBIDDEN, "Flower only shows things here (EMENDO_FLOWER_READ_ONLY)"
        if (
            request.path.startswith(tuple(prefix + page for page in _BROKER_PAGES))
            and self.transport == "amqp"
            and not self.options.broker_api
        ):
            # Flower would guess an address of RabbitMQ's management, and send it the password without TLS.
            return _NOT_FOUND, "the queues of RabbitMQ are shown once FLOWER_BROKER_API names its management API"
        return None


class _Refusal(BaseHandler):  # type: ignore[misc]  # as above
    """Answers a request that may not be served, whatever its method."""

    def initialize(self, problem: tuple[int, str]) -> None:
        self._problem = problem

    def prepare(self) -> None:
        status, words = self._problem
        # Tornado logs errors with words. A probe that asks without a login tries nothing.
        is_probe = status == _UNAUTHORIZED and "Authorization" not in self.request.headers
        raise HTTPError(status, None if is_probe else words)

    def check_xsrf_cookie(self) -> None:
        """Nothing is done, so there is nothing to forge."""

    def write_error(self, status_code: int, **_: Any) -> None:
        self.set_header("Content-Type", "text/plain; charset=UTF-8")
        if status_code == _UNAUTHORIZED:
            self.set_header("WWW-Authenticate", 'Basic realm="flower"')
        self.finish(self._problem[1])


def serve(settings: Settings, host: str, port: int) -> None:
    """Runs Flower in this process until a signal ends it.

    Raises:
        ConfigurationError: one of Flower's own variables has a value that it cannot read.
    """
    from emendo_workers.app import app

    app.set_default()  # or Celery would make another one, with the settings of a celeryconfig.py found anywhere
    configure_logging(settings)
    logging.getLogger("tornado.access").setLevel(logging.ERROR)  # a line per request, with the address asked for
    dashboard = make_dashboard(settings, app)
    options.address, options.port = host, port
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        dashboard.start_http_server()
        logger.info("Flower answers", extra={"address": host, "port": port, "read_only": settings.flower_read_only})
        dashboard.start()
    except (KeyboardInterrupt, SystemExit):
        pass
    finally:
        dashboard.stop()
    logging.shutdown()
    # Python would wait for Flower's threads. While the broker is away, they look for it without an end.
    os._exit(0)


def make_dashboard(settings: Settings, app: Any) -> Dashboard:
    """Flower for this Celery app; it does not listen yet.

    Raises:
        ConfigurationError: see `serve`.
    """
    _read_harmless_options()
    options.basic_auth = [f"{settings.flower_user}:{settings.flower_password.get_secret_value()}"]
    options.read_only = settings.flower_read_only
    extract_settings()
    return Dashboard(app, **flower_settings)


def _read_harmless_options() -> None:
    """Takes Flower's own variables from the environment, and removes the others: its handlers read some of them."""
    refused = []
    for variable in [name for name in os.environ if name.startswith(ENV_VAR_PREFIX)]:
        if variable.removeprefix(ENV_VAR_PREFIX).lower() not in HARMLESS:
            del os.environ[variable]
            refused.append(variable)
    if refused:
        logger.warning("these variables of Flower are not used", extra={"variables": ", ".join(sorted(refused))})
    try:
        apply_env_options()
    except Exception as error:
        raise ConfigurationError(
            "Flower cannot read one of its variables (FLOWER_…)", suggestion="correct or unset them"
        ) from error


def _has_login(header: str, logins: list[str]) -> bool:
    scheme, _, encoded = header.partition(" ")
    given = b""
    with contextlib.suppress(ValueError):
        given = base64.b64decode(encoded.strip(), validate=True)
    return scheme.lower() == "basic" and any(hmac.compare_digest(given, login.encode()) for login in logins)
