"""The whole stack in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from emendo_config import ConfigurationError
from emendo_config.child_processes import environment_for
from emendo_ops.stack.plan import emendo

_START, _STOP = 300.0, 60.0  # seconds
# The stack brings its own servers. The user's must not be touched.
_NOT_INHERITED = ("EMENDO_REDIS_URL", "EMENDO_BROKER_URL", "EMENDO_CONTROL_URL")


@contextmanager
def running_stack(directory: Path, variables: Mapping[str, str] | None = None) -> Iterator[dict[str, Any]]:
    """Runs `emendo up` with its data in `directory`.

    Args:
        directory: of the data and the logs.
        variables: further environment variables, such as EMENDO_REDIS_URL of a Redis that the stack may use.

    Yields:
        The document of its ready file.

    Raises:
        ConfigurationError: the stack did not start; the message ends with its log.
    """
    ready, log = directory / "ready.json", directory / "up.log"
    environment = {name: value for name, value in environment_for("stack").items() if name not in _NOT_INHERITED}
    environment["EMENDO_TASK_EVENTS"] = "true"  # Flower shows nothing without them
    environment |= variables or {}
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as output:
        process = subprocess.Popen(  # noqa: S603  # our own command
            # Free ports, since those that people use may be taken a moment later.
            emendo(
                *("up", "--verbose", "--dir", str(directory), "--ready-file", str(ready)),
                *("--redis-port", "0", "--gateway-port", "0", "--flower-port", "0"),
            ),
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + _START
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise ConfigurationError(f"the stack did not start:\n{log.read_text(errors='replace')[-4_000:]}")
            time.sleep(0.05)
        yield json.loads(ready.read_text())
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGINT)  # a second signal makes it kill its processes
                process.wait()
