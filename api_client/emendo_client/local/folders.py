"""Folders that processes keep their data in."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from emendo_config.errors import ConfigurationError

_LOCK = "lock"
# Seconds a server's last child, which rewrites its file, may outlive it.
_PATIENCE = 5.0


def make_folder(folder: Path) -> None:
    """Makes the folder, and those it lies in, unless it is there.

    Raises:
        ConfigurationError: it names the folder that cannot be made, and why.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"the folder {folder} cannot be made ({error.strerror})",
            suggestion="give one that you may write to with --dir",
        ) from error


def hold_folder(folder: Path) -> int:
    """Makes the folder, and holds it for this process and those that inherit the descriptor, until the last one ends.

    Two servers with one folder would write over each other's file, and both would say that all is well. One that is
    just ending is waited for.

    Returns:
        The descriptor that holds it; `name_holder` says whose it is.

    Raises:
        ConfigurationError: another process has it, it cannot be made, or nothing can be written there.
    """
    make_folder(folder)
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigurationError(
            f"nothing can be written in the folder {folder} ({error.strerror})",
            suggestion="give one that you may write to with --dir",
        ) from error
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                holder = os.read(descriptor, 200).decode(errors="replace") or "another process"
                os.close(descriptor)
                raise ConfigurationError(
                    f"the folder {folder} is in use by {holder}", suggestion="stop that one, or give another --dir"
                ) from None
            time.sleep(0.05)
        else:
            return descriptor


def name_holder(descriptor: int, holder: str) -> None:
    """Says in the folder who holds it, for whoever is refused."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, holder.encode(), 0)
