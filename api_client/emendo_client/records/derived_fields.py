"""Fields of a memory's hash that follow from other fields, in the form the index and the cache need."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from emendo_client.times import microseconds_of
from emendo_config.spaces.index import TAG_SEPARATOR

MAX_TAG_CHARS = 1_024
# A longer path stands in tags as its hash: else a list of a thousand members would repeat it a thousand times.
MAX_PATH_CHARS = 64
# No key can begin with this character, so no key looks like the hash of another one.
_HASHED = "\x01"
# One encoder for all: `json.dumps` with an option makes a new one for each value.
as_json = json.JSONEncoder(ensure_ascii=False).encode
# Stands for a list or an object, which is there and has no value of its own.
PRESENT: Final = object()
_NESTING = (dict, list, tuple)


class Leaf(NamedTuple):
    """One value in a memory's metadata.

    Attributes:
        path: its keys, joined by dots; a list's members have the path of the list.
        value: a string, number, boolean or None; PRESENT for a list or an object.
        is_member: it is a member of a list.
    """

    path: str
    value: Any
    is_member: bool = False


def metadata_leaves(value: Any, path: str = "", *, is_member: bool = False) -> Iterator[Leaf]:
    """Every value in the metadata, at any depth."""
    if isinstance(value, dict):
        if path:
            yield Leaf(path, PRESENT, is_member)
        for key, item in value.items():
            yield from metadata_leaves(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list | tuple):
        yield Leaf(path, PRESENT, is_member)
        for item in value:
            yield from metadata_leaves(item, path, is_member=True)
    else:
        yield Leaf(path, value, is_member)


def metadata_tag(path: str, value: Any) -> str | None:
    """The index tag that finds a string, number, boolean or null at a path; None if it is too long to be a tag."""
    return _tag(_written(path), as_json(value))


def presence_tag(path: str) -> str | None:
    """The index tag that finds any value but null at a path; no value has the same tag."""
    return _tag(_written(path), "")


def metadata_tags(metadata: Mapping[str, Any]) -> str:
    """The value of the `metadata_tags` field for a memory's metadata."""
    tags: dict[str | None, None] = {}
    for key, item in metadata.items():
        # Most metadata is flat, and each update computes its tags: the walk through depths would double the time.
        leaves = metadata_leaves(item, key) if isinstance(item, _NESTING) else ((key, item, False),)
        for path, value, _ in leaves:
            written = _written(path)
            if value is not None:
                tags[_tag(written, "")] = None
            if value is not PRESENT:
                tags[_tag(written, as_json(value))] = None
    tags.pop(None, None)
    return TAG_SEPARATOR.join(tags)  # type: ignore[arg-type]  # None is gone


def _written(path: str) -> str:
    """The path as tags have it."""
    if len(path) > MAX_PATH_CHARS:
        return _HASHED + hashlib.sha256(path.encode()).hexdigest()[:32]
    # The index drops white space at both ends of a tag, so a key that begins with white space is quoted. A key that
    # begins with a quote is quoted too, so that the two stay different tags.
    first = path[:1]
    return as_json(path) if first == '"' or first.isspace() else path


def _tag(path: str, text: str) -> str | None:
    tag = f"{path}={text}"
    return tag if len(tag) <= MAX_TAG_CHARS else None


def expires_ms(expires_at: str) -> str:
    """The value of the `expires_ms` field (milliseconds since the epoch) for `expires_at`; empty if that is empty."""
    return str(microseconds_of(datetime.fromisoformat(expires_at)) // 1_000) if expires_at else ""


def text_hash(text: str) -> str:
    """SHA-256 of the text, in hexadecimal: the memory's `hash`, and its key in the embedding cache."""
    return hashlib.sha256(text.encode()).hexdigest()
