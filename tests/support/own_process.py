"""A process that a test starts and ends by its id: `emendo …` of this release, or of another one."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from tests.support.patience import LONG_PATIENCE, until

EMENDO = (sys.executable, "-m", "emendo_ops.cli")


class OwnProcess:
    """A context manager; leaving it ends the process at once, unless it was ended before.

    Args:
        command: the program and its arguments.
        environment: all its variables.
        log: the file for its output. Its folder is the process's current folder.
        is_ready: asked until it holds.
    """

    def __init__(
        self,
        command: tuple[str, ...],
        environment: Mapping[str, str],
        log: Path,
        is_ready: Callable[[], object] = lambda: True,
    ) -> None:
        self._command = command
        self._environment = dict(environment)
        self.log = log
        self._is_ready = is_ready
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def start(self) -> Self:
        """Starts it, and waits until it is ready."""
        with self.log.open("ab") as output:
            self._process = process = subprocess.Popen(
                self._command, env=self._environment, cwd=self.log.parent, stdout=output, stderr=subprocess.STDOUT
            )

        def holds() -> object:
            assert process.poll() is None, f"it ended: {self.log.read_text()[-3_000:]}"
            return self._is_ready()

        until(holds, lambda: self.log.read_text()[-3_000:], LONG_PATIENCE)
        return self

    def terminate(self) -> int:
        """SIGTERM; the exit code, once it has finished what is under way."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(LONG_PATIENCE)
        self._process = None
        return code
