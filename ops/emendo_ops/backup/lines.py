"""The lines of an export: a header, the memories, and an end that says how many there are.

    {"emendo_export": 1, "release": …, "created_at": …, "projects": null, "vectors": …, "space": …, "spaces": {…}}
    {"id": …, "fields": {…}, "entries": 3, "history": [{"id": "1-0", …}, …], "vectors": {…}}
    {"more": <memory id>, "history": […]}
    {"emendo_export_end": {"memories": …, "entries": …}}

`fields` and each entry of `history` are as Redis holds them, so nothing is lost on the way. A history of several pages
goes on in lines with `more`. Fields that follow from others are left out. A vector is base64 by the name of its space.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import IO, Any

from emendo_config.json_codec import compact_json, read_json

# The format that this release writes, and the newest that it reads.
FORMAT = 1
HEADER, END, MORE = "emendo_export", "emendo_export_end", "more"
# Bytes of an end; it is looked for in the last part of a file.
_LONGEST_END = 4_096


@dataclass
class Counts:
    """How much an export has written so far."""

    memories: int = 0
    entries: int = 0


def line(document: Mapping[str, Any]) -> bytes:
    """One line."""
    return f"{compact_json(document)}\n".encode()


def header(
    created_at: str, project: str | None, *, vectors: bool, space: str, spaces: Mapping[str, Any]
) -> dict[str, Any]:
    """The first line.

    Args:
        created_at: ISO-8601, by the data Redis.
        project: the only one; None for all.
        vectors: whether the lines have them.
        space: the name of the space that the settings ask for.
        spaces: the registry: each space's document by its name.
    """
    return {
        HEADER: FORMAT,
        "release": metadata.version("emendo"),
        "created_at": created_at,
        "projects": None if project is None else [project],
        "vectors": vectors,
        "space": space,
        "spaces": dict(spaces),
    }


def end(counts: Counts) -> dict[str, Any]:
    """The last line."""
    return {END: {"memories": counts.memories, "entries": counts.entries}}


def begins_export(file: IO[bytes]) -> bool:
    """True if the file begins like an export, or is empty, or ends within the first words of one."""
    beginning = f'{{"{HEADER}":'.encode()
    return beginning.startswith(file.read(len(beginning)))


def read_end(file: IO[bytes]) -> dict[str, Any] | None:
    """The counts of the last line; None for a file without an end. The place in the file stays."""
    place = file.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _LONGEST_END))
    tail = file.read()
    file.seek(place)
    if not tail.endswith(b"\n"):
        return None
    try:
        found = read_json(tail.rstrip(b"\n").rpartition(b"\n")[2])
    except ValueError:
        return None
    told = found.get(END) if isinstance(found, dict) else None
    return told if isinstance(told, dict) else None
