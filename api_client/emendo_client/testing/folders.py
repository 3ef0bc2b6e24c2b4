"""Data folders of servers: creating one, its password, and holding it against a second server."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from emendo_client.testing.ownership import require_own
from emendo_config.errors import ConfigurationError

PASSWORD = "password"  # noqa: S105  # a file's name
PRIVATE_UMASK = 0o077
_LOCK = "lock"
_PRIVATE = 0o700
# These characters need no quoting in a URL, nor in the configuration of Redis.
_USABLE = re.compile(r"[A-Za-z0-9._~-]{8,512}")
# Seconds to wait for a folder. A server's child that rewrites the file may outlive the server for this long.
_HOLD_TIMEOUT = 5.0


def make_folder(folder: Path) -> None:
    """Creates the folder and its parents if missing; new ones are for their owner only, since they hold memories.

    Raises:
        ConfigurationError: the folder cannot be created, or other users can change it; the message names the reason.
    """
    require_own(folder)
    try:
        for each in (*reversed(folder.parents), folder):
            if not each.exists():
                each.mkdir(mode=_PRIVATE, exist_ok=True)
        folder.mkdir(exist_ok=True)  # refuses a file in its place
    except OSError as error:
        raise ConfigurationError(
            f"the folder {folder} cannot be made ({error.strerror})",
            suggestion="give one that you may write to with --dir",
        ) from error
    require_own(folder)  # another user may have made a part of it meanwhile


@contextmanager
def private_files() -> Iterator[None]:
    """Files and folders that this process makes meanwhile are for their owner only."""
    before = os.umask(PRIVATE_UMASK)
    try:
        yield
    finally:
        os.umask(before)


def password_in(folder: Path) -> str:
    """The password of the folder's server, from a file that only its owner reads; made if missing.

    Raises:
        ConfigurationError: the file or the folder cannot be used.
    """
    make_folder(folder)
    path = folder / PASSWORD
    try:
        if not path.exists():
            _make_password(path)
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW)) as file:
            owner = os.fstat(file.fileno()).st_uid
            os.fchmod(file.fileno(), 0o600)
            text = file.read().strip()
    except OSError as error:
        raise ConfigurationError(
            f"the file {path} cannot be used ({error.strerror})",
            suggestion="remove it, or give another folder with --dir",
        ) from error
    if owner != os.geteuid() or not _USABLE.fullmatch(text):
        raise ConfigurationError(
            f"the file {path} holds no password of yours",
            suggestion="remove it, and a new one is made; or write 8 to 512 letters, digits, '.', '_', '~' or '-'",
        )
    return text


def _make_password(path: Path) -> None:
    draft = path.with_name(f"{PASSWORD}.{secrets.token_hex(8)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(24))
    try:
        with suppress(FileExistsError):  # another process was first, and its password stays
            os.link(draft, path)
    finally:
        draft.unlink()


def hold_folder(folder: Path) -> int:
    """Creates the folder, and holds it until this process and all that inherit the descriptor have ended.

    Two servers with one folder would overwrite each other's file unnoticed. A server that is just ending is waited for.

    Returns:
        The descriptor that holds the folder. `name_holder` writes the holder's name into it.

    Raises:
        ConfigurationError: another process holds the folder, or it cannot be created or written to.
    """
    make_folder(folder)
    try:
        if (folder / _LOCK).exists() or not any(folder.iterdir()):  # ours alone, so closed to others as new ones are
            folder.chmod(_PRIVATE)
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigurationError(
            f"nothing can be written in the folder {folder} ({error.strerror})",
            suggestion="give one that you may write to with --dir",
        ) from error
    deadline = time.monotonic() + _HOLD_TIMEOUT
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
    """Writes the holder's name into the folder, for the message to a second server."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, holder.encode(), 0)
