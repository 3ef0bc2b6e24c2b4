"""Flower as a process or a thread of a test, and a browser for it."""

from __future__ import annotations

import asyncio
import http.client
import os
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from emendo_client.testing.ports import LOOPBACK, free_port
from emendo_client.testing.worker import environment
from emendo_config import Settings
from tests.support.patience import PATIENCE, until

LOGIN = "emendo:hush"


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: str


class Browser:
    """Asks one Flower, under the prefix of its URLs; `login` may be None."""

    def __init__(self, port: int, prefix: str = "") -> None:
        self.port = port
        self.prefix = prefix

    def ask(self, path: str, method: str = "GET", login: str | None = LOGIN, **headers: str) -> Answer:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=PATIENCE)
        if login is not None:
            headers["Authorization"] = f"Basic {b64encode(login.encode()).decode()}"
        try:
            connection.request(method, self.prefix + path, headers=headers)
            reply = connection.getresponse()
            return Answer(reply.status, dict(reply.getheaders()), reply.read().decode(errors="replace"))
        finally:
            connection.close()


@contextmanager
def flower_process(settings: Settings, cwd: Path, log: Path | None = None, **variables: str) -> Iterator[Browser]:
    """`emendo flower` in the folder `cwd`, with further variables. It ends well on SIGTERM, whatever happened."""
    port = free_port()
    with (log or Path(os.devnull)).open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "emendo_ops.cli", "flower", "--port", str(port)],
            env={**environment(settings), "EMENDO_FLOWER_PASSWORD": "hush", **variables},
            cwd=cwd,
            stdout=output,
            stderr=output,
        )
    browser = Browser(port, variables.get("FLOWER_URL_PREFIX", ""))
    try:
        until(lambda: process.poll() is not None or _answers(browser), "Flower does not answer")
        assert process.poll() is None, "Flower ended"
        yield browser
    finally:
        process.terminate()
        ended = process.wait(PATIENCE)
    assert ended == 0, "Flower did not end well"


@contextmanager
def flower_thread(settings: Settings, app: Any) -> Iterator[tuple[Browser, Any]]:
    """Flower in this process, and the application itself. It does not listen to the broker's events."""
    from flower.options import options

    from emendo_ops.dashboard.serve import make_dashboard

    made: list[Any] = []
    ready = threading.Event()

    def run() -> None:
        asyncio.set_event_loop(asyncio.new_event_loop())
        kept = {name: os.environ[name] for name in os.environ if name.startswith("FLOWER_")}
        try:
            dashboard = make_dashboard(settings, app)
            options.address, options.port = LOOPBACK, 0
            made.extend([dashboard, dashboard.start_http_server()])
        finally:
            os.environ.update(kept)
            ready.set()
        dashboard.io_loop.start()

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(PATIENCE)
    assert len(made) == 2, "Flower did not start"
    dashboard, port = made
    try:
        browser = Browser(port)
        until(lambda: _answers(browser), "Flower does not answer")
        yield browser, dashboard
    finally:
        dashboard.io_loop.add_callback(dashboard.io_loop.stop)
        thread.join(PATIENCE)
        dashboard.executor.shutdown()


def _answers(browser: Browser) -> bool:
    try:
        return browser.ask("/healthcheck").status == 200
    except OSError:
        return False
