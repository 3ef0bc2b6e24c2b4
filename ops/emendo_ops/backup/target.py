"""The place that an export is written to: a file that can be continued, or a stream."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Protocol

from emendo_config.errors import ConfigurationError
from emendo_config.json_codec import compact_json, read_json
from emendo_ops.backup.lines import Counts, begins_export, read_end

# Seconds between two notes of how far the export is; an interruption costs at most that much work.
_INTERVAL = 1.0


class CompleteError(Exception):
    """The export to go on with is whole already."""


class Target(Protocol):
    """Takes the lines of an export."""

    def write(self, data: bytes) -> None:
        """Adds whole lines."""

    def note(self, cursor: int, counts: Counts) -> None:
        """Remembers how far the export is: all lines up to here are whole."""

    def finish(self) -> None:
        """The last line was written."""


class Stream:
    """A stream, which cannot be continued."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def write(self, data: bytes) -> None:
        """Adds whole lines."""
        self._stream.write(data)

    def note(self, cursor: int, counts: Counts) -> None:
        """Nothing to remember."""

    def finish(self) -> None:
        """Sends the rest."""
        self._stream.flush()


class File:
    """A file of mode 0600, with a small one beside it that says how far the export is.

    The note is written after the lines it speaks of are on the disk. Later lines are cut off before the export goes on.
    So no line is partly written, and none is there twice.

    Attributes:
        cursor: where the scan goes on; 0 at the beginning.
        counts: what is in the file.
        begins: nothing is in the file yet.
    """

    def __init__(self, path: Path, scan: Mapping[str, Any], *, resume: bool) -> None:
        """Opens the file, or makes it.

        Args:
            scan: properties that must be the same for an export to go on; `run_id` is that of the Redis process.
            resume: go on with a file that is there.

        Raises:
            ConfigurationError: there is a file, and it is not to be continued or cannot be.
            CompleteError: it is whole.
        """
        self._note_path = path.with_name(f"{path.name}.cursor")
        self._scan = dict(scan)
        self.cursor, self.counts, self.begins, size = 0, Counts(), True, 0
        if resume and path.exists():
            size = self._resumed(path)
        flags = os.O_WRONLY | os.O_CREAT | (0 if resume else os.O_EXCL)
        try:
            self._file = os.fdopen(os.open(path, flags, 0o600), "wb")
        except FileExistsError:
            raise _exists(path) from None
        if self.begins:
            self._forget()
        self._file.truncate(size)
        self._file.seek(size)
        self._noted = time.monotonic()

    def _resumed(self, path: Path) -> int:
        """Reads the note; the size of the whole part of the file.

        A cursor belongs to one process of Redis: after its restart the export begins again.
        """
        with path.open("rb") as file:
            if not begins_export(file):
                raise ConfigurationError(
                    f"{path.name} is no export, and would be lost",
                    suggestion="name the file of an export, or a new one",
                )
        try:
            note = read_json(self._note_path.read_bytes())
            size, counts, cursor = note["size"], Counts(**note["counts"]), note["cursor"]
        except FileNotFoundError:
            with path.open("rb") as file:
                if read_end(file) is not None:
                    raise CompleteError from None
            return 0
        except (ValueError, TypeError, KeyError):
            return 0
        mine = {**self._scan, "run_id": None}
        if {**note["scan"], "run_id": None} != mine:
            raise ConfigurationError(
                f"{path.name} was begun with other options", suggestion="give the same ones, or write another file"
            )
        if note["scan"] != self._scan or path.stat().st_size < size:
            return 0
        self.cursor, self.counts, self.begins = cursor, counts, False
        return int(size)

    def write(self, data: bytes) -> None:
        """Adds whole lines."""
        self._file.write(data)

    def note(self, cursor: int, counts: Counts) -> None:
        """Remembers how far the export is, about once a second."""
        if time.monotonic() - self._noted < _INTERVAL:
            return
        self._file.flush()
        os.fsync(self._file.fileno())
        note = {"scan": self._scan, "cursor": cursor, "size": self._file.tell(), "counts": asdict(counts)}
        draft = self._note_path.with_name(f"{self._note_path.name}.new")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as written:
            written.write(compact_json(note))
            written.flush()
            os.fsync(written.fileno())
        draft.replace(self._note_path)
        self._noted = time.monotonic()

    def finish(self) -> None:
        """The file is whole: the note goes."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._forget()

    def _forget(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._note_path.unlink()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


Report = Callable[[int, int], None]


def _exists(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{path.name} is there already", suggestion="--resume goes on with it; or write another file"
    )
