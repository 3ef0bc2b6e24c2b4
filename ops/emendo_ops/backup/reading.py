"""Reads an export line by line; a line that is damaged is refused, and the others go on."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import IO, Any

from emendo_config.errors import ConfigurationError
from emendo_config.json_codec import compact_json, read_json
from emendo_config.spaces.registry import SpaceRecord
from emendo_config.store.format_versions import too_old
from emendo_ops.backup.lines import END, FORMAT, HEADER, MORE, read_end
from emendo_ops.backup.memory import FileMemory, Refused, RefusedError, checked


class ExportFile:
    """An export.

    Attributes:
        total: how many memories it says that it has; None without an end.
        read: how many it turned out to have.
        spaces: the embedding spaces of its vectors, by name.
    """

    def __init__(self, file: IO[bytes], *, incomplete: bool) -> None:
        """Reads the first and the last line.

        Raises:
            ConfigurationError: it is no export, not whole, or of a newer format (RELEASE_TOO_OLD).
        """
        self._file = file
        ending = read_end(file)
        header = _document(file.readline())
        stated = header.get(HEADER) if header else None
        if type(stated) is not int or stated < 1 or header is None:
            raise ConfigurationError(
                "the file is no export: its first line is no header",
                suggestion="emendo export writes one; --from mem0 reads an export of mem0",
            )
        if stated > FORMAT:
            raise too_old(f"the export has format {stated}, and this release reads none above {FORMAT}")
        if ending is None and not incomplete:
            raise ConfigurationError(
                "the export is not whole: it has no end",
                suggestion="emendo export --resume goes on with it; --incomplete imports what is there",
            )
        self.total: int | None = ending.get("memories") if ending else None
        self.read = 0
        self.spaces = _spaces(header.get("spaces"))

    def memories(self) -> Iterator[FileMemory | Refused]:
        """The memories in their order; whole memories only."""
        open_line, waiting = 0, dict[str, Any]()
        for number, raw in enumerate(self._file, 2):
            document = _document(raw)
            if document is None:
                yield Refused(number, "it is no JSON object, or is cut off")
            elif END in document:
                break
            elif MORE in document and waiting and document[MORE] == waiting.get("id"):
                more = document.get("history")
                waiting["history"] = [*waiting["history"], *(more if isinstance(more, list) else [None])]
            elif "id" in document:
                if waiting:
                    yield self._memory(open_line, waiting)
                open_line, waiting = number, document
                if not isinstance(waiting.get("history"), list):
                    waiting["history"] = [None]
            else:
                yield Refused(number, "it belongs to no memory before it")
        if waiting:
            yield self._memory(open_line, waiting)

    def _memory(self, line: int, document: dict[str, Any]) -> FileMemory | Refused:
        self.read += 1
        if document.get("entries") != len(document["history"]):
            return Refused(line, "lines of its history are missing")
        try:
            vectors = _vectors(document.get("vectors"))
            return checked(line, document["id"], document.get("fields"), document["history"], vectors)
        except RefusedError as error:
            return Refused(line, str(error))


def _document(raw: bytes) -> dict[str, Any] | None:
    try:
        found = read_json(raw)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _vectors(stored: Any) -> dict[str, bytes]:
    """The vectors; one that cannot be read is embedded again."""
    vectors = {}
    for name, text in stored.items() if isinstance(stored, dict) else ():
        try:
            vectors[name] = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError, TypeError):
            continue
    return vectors


def _spaces(stored: Any) -> dict[str, SpaceRecord]:
    """The spaces that this release can read; vectors of others are made again."""
    found = {}
    for name, document in stored.items() if isinstance(stored, dict) else ():
        try:
            found[name] = SpaceRecord.from_json(compact_json(document))
        except ConfigurationError:
            continue
    return found
