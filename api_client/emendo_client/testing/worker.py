"""A real worker process for tests."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import SecretStr

from emendo_config import Keys, Settings
from emendo_config.child_processes import python_module
from emendo_config.store.connections import connect
from emendo_config.worker_process import WORKER_ENVIRONMENT

START_TIMEOUT = 120.0
STOP_TIMEOUT = 30.0


def environment(settings: Settings) -> dict[str, str]:
    """Environment variables with which `Settings()` equals the given settings."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("EMENDO_", "OPENAI_"))}
    own = {}
    for name in Settings.model_fields:
        value = getattr(settings, name)
        text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        own[f"EMENDO_{name.upper()}"] = "" if value is None else text
    return {**inherited, **own}


class WorkerProcess:
    """One `celery worker` process on its own settings; use it as a context manager.

    Args:
        settings: the worker's settings.
        log: the file for its output.
        concurrency: the worker's threads.
        variables: further environment variables.
    """

    def __init__(
        self, settings: Settings, log: Path, *, concurrency: int = 4, variables: Mapping[str, str] | None = None
    ) -> None:
        self._settings = settings
        self._log = log
        self._variables = variables or {}
        self._command = [
            *python_module("emendo_workers", "worker"),
            *("--pool", "threads", "--concurrency", str(concurrency)),
            *("--without-gossip", "--without-mingle", "--task-events", "--loglevel", "INFO"),
            *("--hostname", f"test-{time.monotonic_ns()}@%h"),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id."""
        if self._process is None:
            raise RuntimeError("the worker was not started")
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """True while the process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Starts the process and waits for its first sign of life.

        Raises:
            RuntimeError: it died or was not ready in time; the message ends with its log.
        """
        before = self._signed_on()
        variables = {**WORKER_ENVIRONMENT, **environment(self._settings), **self._variables}
        variables.pop("EMENDO_FLOWER_PASSWORD", None)  # no worker has a use for it
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603  # our own command
                self._command,
                env=variables,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_TIMEOUT
        while not self._signed_on() - before:
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"the worker did not start:\n{self._log.read_text()[-3_000:]}")
            time.sleep(0.02)
        return self

    def send_signal(self, number: signal.Signals) -> None:
        """Sends a signal and does not wait."""
        os.kill(self.pid, number)

    def wait(self, timeout: float) -> int:
        """Waits until it has ended by itself or by a signal; its exit code.

        Raises:
            subprocess.TimeoutExpired: it runs on.
        """
        if self._process is None:
            raise RuntimeError("the worker was not started")
        return self._process.wait(timeout)

    def stop(self) -> None:
        """Asks it to finish and waits; kills it if it does not in time."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Sends SIGKILL, as if the machine were lost: no clean-up."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(how)
            try:
                self._process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None

    def _signed_on(self) -> set[bytes]:
        connection = connect(self._settings.control_url, self._settings)
        try:
            names: Any = connection.zrange(Keys(self._settings.key_prefix).workers, 0, -1)
            return set(names)
        finally:
            connection.close()
