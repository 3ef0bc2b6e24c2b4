"""The fields of a memory's hash, `emendo:memory:{<id>}`, listed once; every other list of them is derived here.

Each embedding space adds one more field, its vector (see `emendo_config.embedding_space`).
"""

from __future__ import annotations

from enum import Flag, auto


class Use(Flag):
    """The uses of a field."""

    SHOWN = auto()  # part of the `Memory` that a caller sees
    STATE = auto()  # read by a worker before it decides on a change
    COPIED = auto()  # written as it stands in the worker's state, not derived from another value
    TAG = auto()  # indexed: searches are limited by it
    SORTED = auto()  # indexed: listings are sorted by it
    NUMBER = auto()  # indexed as a number
    TEXT = auto()  # indexed for full-text search, if `EMENDO_INDEX_TEXT` is set


# Lists the embedding spaces whose vector fields hold the vector of the current text.
SPACE_FIELD = "embedding_space"
# The commit that made the version. After a failover one version number can name two states, and this tells them apart.
COMMIT_FIELD = "commit_id"
# The words of the text, as full-text search looks for them.
WORDS_FIELD = "words"

_BOTH = Use.SHOWN | Use.STATE
_FIELDS = {
    "id": _BOTH | Use.COPIED,
    "project": _BOTH | Use.COPIED | Use.TAG,
    "memory": _BOTH | Use.COPIED,
    "user_id": _BOTH | Use.COPIED | Use.TAG,
    "agent_id": _BOTH | Use.COPIED | Use.TAG,
    "run_id": _BOTH | Use.COPIED | Use.TAG,
    "actor_id": _BOTH | Use.COPIED | Use.TAG,
    "role": _BOTH | Use.COPIED | Use.TAG,
    "metadata": _BOTH,
    "hash": _BOTH | Use.COPIED,
    "version": _BOTH,
    "created_at": _BOTH | Use.COPIED | Use.SORTED,
    "updated_at": _BOTH | Use.COPIED | Use.SORTED,
    "expires_at": _BOTH | Use.COPIED,
    "is_deleted": _BOTH | Use.TAG,
    "stamps": Use.STATE,
    "erased": Use.STATE,
    COMMIT_FIELD: Use.STATE | Use.COPIED,
    SPACE_FIELD: Use(0),
    "embedding_model": Use.SHOWN,
    "metadata_tags": Use.TAG,
    "expires_ms": Use.NUMBER,
    "deleted_ms": Use.NUMBER,
    WORDS_FIELD: Use.TEXT,
}


def _names(use: Use) -> tuple[str, ...]:
    return tuple(name for name, uses in _FIELDS.items() if use in uses)


# The fields that make a `Memory`, in the order they are read.
MEMORY_FIELDS = _names(Use.SHOWN)
# The fields a decision is based on, in the order they are read.
STATE_FIELDS = _names(Use.STATE)
# The fields that `open_memory.lua` reads.
OPENED_FIELDS = (*STATE_FIELDS, SPACE_FIELD)
# The fields that are written as they stand in the worker's state.
COPIED_FIELDS = _names(Use.COPIED)
# The fields of the search index, by their kind.
TAG_FIELDS = _names(Use.TAG)
SORTED_FIELDS = _names(Use.SORTED)
NUMBER_FIELDS = _names(Use.NUMBER)
TEXT_FIELDS = _names(Use.TEXT)
