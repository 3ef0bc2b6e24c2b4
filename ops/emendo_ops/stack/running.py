"""The record of a running `emendo up`, so that other commands find it, in a folder of its owner only."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from emendo_client.testing.folders import make_folder
from emendo_client.testing.ownership import require_own
from emendo_config.errors import ConfigurationError

_PRIVATE = 0o700
# Seconds: processes are stopped one after another, each with a limit of its own.
_STOP_TIMEOUT = 120.0


class RunFolder:
    """The folder `up` beside the stack's data: a lock, the record, the gateway's key, and the logs.

    Raises:
        ConfigurationError: another user could have written the record, which names a process to be stopped.
    """

    def __init__(self, directory: Path) -> None:
        for each in (directory, directory / "up"):
            require_own(each)
        self.directory = directory.resolve()
        self.path = self.directory / "up"
        self.logs = self.path / "logs"
        self.gateway_key = self.path / "gateway-key"
        self._record = self.path / "running.json"
        self._lock = self.path / "lock"

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Marks the stack as running, and ends with the record removed.

        Raises:
            ConfigurationError: another `emendo up` holds the folder, or it cannot be made or written to.
        """
        for folder in (self.path, self.logs):
            make_folder(folder)
        try:
            for folder in (self.path, self.logs):
                folder.chmod(_PRIVATE)
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigurationError(
                f"nothing can be written in the folder {self.path} ({error.strerror})",
                suggestion="give one that you may write to with --dir",
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise self.is_taken() from None
        try:
            self.write({"pid": os.getpid(), "ready": False})
            yield
        finally:
            self._record.unlink(missing_ok=True)
            os.close(descriptor)  # the lock goes with it

    def is_taken(self) -> ConfigurationError:
        """The error for a second `emendo up` with this folder."""
        return ConfigurationError(
            f"emendo up runs already with the folder {self.directory}",
            suggestion="emendo status shows its addresses, emendo down stops it; or give another --dir",
        )

    def write(self, record: dict[str, Any]) -> None:
        """Replaces the record; nobody reads half of it."""
        fresh = self._record.with_suffix(".new")
        fresh.unlink(missing_ok=True)  # an existing file would keep its own mode
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(record, file)
        fresh.replace(self._record)

    def record(self) -> dict[str, Any]:
        """The record of the stack that runs: `pid`, `ready`, and once ready `lines`; empty when none runs."""
        if not self._is_held():
            return {}
        try:
            record = json.loads(self._record.read_text())
        except (OSError, ValueError):  # it is just starting, or ending
            return {}
        return record if isinstance(record, dict) else {}

    def ready_record(self, pid: int) -> dict[str, Any]:
        """The record of this process once it is ready, else empty. It takes no lock, which the process may want."""
        try:
            record = json.loads(self._record.read_text())
        except (OSError, ValueError):
            return {}
        return record if record.get("pid") == pid and record.get("ready") else {}

    def stop(self) -> bool:
        """Stops the stack and waits for its end; False when none runs.

        Raises:
            ConfigurationError: it does not end.
        """
        pid = self.record().get("pid")
        if pid is None:
            return False
        os.kill(int(pid), signal.SIGTERM)
        deadline = time.monotonic() + _STOP_TIMEOUT
        while self._is_held():
            if time.monotonic() > deadline:
                raise ConfigurationError(
                    f"process {pid} did not end within {_STOP_TIMEOUT:g} s", suggestion=f"its logs are in {self.logs}"
                )
            time.sleep(0.05)
        return True

    def _is_held(self) -> bool:
        try:
            descriptor = os.open(self._lock, os.O_RDWR)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False
