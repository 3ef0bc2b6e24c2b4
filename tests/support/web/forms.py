"""The web servers that a client is tried under, each with one way to use the client."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

_BIN = Path(sys.executable).parent
_APPS = "tests.support.web.apps"


@dataclass(frozen=True, slots=True)
class WebServer:
    """One row.

    Attributes:
        name: the server and how it runs.
        use: the client, and where it is made.
        command: `{port}` stands for the port.
        path: of the app.
        processes: how many must have answered, at least.
    """

    name: str
    use: str
    command: list[str]
    path: str = "/"
    processes: int = 1


def _gunicorn(*options: str, app: str = "wsgi") -> list[str]:
    bind = ["--bind", "127.0.0.1:{port}", "--workers", "3", "--no-control-socket"]
    return [str(_BIN / "gunicorn"), *bind, *options, f"{_APPS}:{app}"]


def _uvicorn(app: str, *options: str) -> list[str]:
    return [str(_BIN / "uvicorn"), "--port", "{port}", "--log-level", "warning", *options, f"{_APPS}:{app}"]


def _uwsgi(*options: str) -> list[str]:
    serve = ["--http-socket", "127.0.0.1:{port}", "--master", "--processes", "3", "--die-on-term", "--need-app"]
    return [str(_BIN / "uwsgi"), *serve, "--module", f"{_APPS}:wsgi", "--virtualenv", sys.prefix, *options]


def _hypercorn(app: str, *options: str) -> list[str]:
    return [str(_BIN / "hypercorn"), "--bind", "127.0.0.1:{port}", *options, f"{_APPS}:{app}"]


def _granian(interface: str, app: str, *options: str) -> list[str]:
    return [str(_BIN / "granian"), "--interface", interface, "--port", "{port}", *options, f"{_APPS}:{app}"]


_SYNC, _ASYNC = "MemoryClient", "AsyncMemoryClient"

WEB_SERVERS = [
    WebServer("gunicorn sync", f"{_SYNC}, made in each worker", _gunicorn(), processes=2),
    WebServer("gunicorn sync --preload", f"{_SYNC}, used before the fork", _gunicorn("--preload"), processes=2),
    WebServer(
        "gunicorn gthread --preload",
        f"{_SYNC}, used before the fork",
        _gunicorn("--preload", "--worker-class", "gthread", "--threads", "4"),
        processes=2,
    ),
    WebServer("gunicorn gevent", f"{_SYNC}, made in each worker", _gunicorn("--worker-class", "gevent"), processes=2),
    WebServer(
        "gunicorn gevent --preload",
        f"{_SYNC}, used before the fork",
        _gunicorn("--preload", "--worker-class", "gevent"),
        processes=2,
    ),
    WebServer(
        "gunicorn gthread, asyncio.run",
        f"{_ASYNC}, a loop for each request",
        _gunicorn("--preload", "--worker-class", "gthread", "--threads", "4", app="wsgi_asyncio"),
        processes=2,
    ),
    WebServer("uWSGI", f"{_SYNC}, used before the fork", _uwsgi(), processes=2),
    WebServer("uWSGI --enable-threads", f"{_SYNC}, used before the fork", _uwsgi("--threads", "4"), processes=2),
    WebServer("uWSGI --lazy-apps", f"{_SYNC}, made in each worker", _uwsgi("--lazy-apps"), processes=2),
    WebServer("uvicorn", f"{_ASYNC}, one loop", _uvicorn("asgi")),
    WebServer("uvicorn --workers 3", f"{_ASYNC}, one loop each", _uvicorn("asgi", "--workers", "3"), processes=2),
    WebServer("hypercorn", f"{_ASYNC}, one loop", _hypercorn("asgi")),
    WebServer("hypercorn --workers 3", f"{_ASYNC}, one loop each", _hypercorn("asgi", "--workers", "3"), processes=2),
    WebServer("granian, ASGI", f"{_ASYNC}, one loop each", _granian("asgi", "asgi", "--workers", "3"), processes=2),
    WebServer(
        "granian, WSGI", f"{_SYNC}, made in each worker", _granian("wsgi", "wsgi", "--workers", "3"), processes=2
    ),
    WebServer("Django, WSGI", f"{_SYNC} in a view", _gunicorn("--preload", app="django_wsgi"), processes=2),
    WebServer(
        "Django runserver",
        f"{_SYNC} in a view",
        [sys.executable, "-m", "tests.support.web.runserver", "127.0.0.1:{port}"],
    ),
    WebServer(
        "Django runserver, async_to_sync",
        f"{_ASYNC} in a view for threads",
        [sys.executable, "-m", "tests.support.web.runserver", "127.0.0.1:{port}"],
        path="/bridged",
    ),
    WebServer("Django, ASGI", f"{_ASYNC} in an async view", _uvicorn("django_asgi"), path="/async"),
    WebServer("Django, ASGI, view for threads", f"{_SYNC} in a view", _uvicorn("django_asgi")),
    WebServer(
        "Django, ASGI, async_to_sync", f"{_ASYNC} in a view for threads", _uvicorn("django_asgi"), path="/bridged"
    ),
]
