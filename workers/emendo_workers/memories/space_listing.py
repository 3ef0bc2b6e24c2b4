"""The embedding spaces a memory lists: those whose vector field holds the vector of the current text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from emendo_config.embedding_space import VECTOR_PREFIX
from emendo_config.spaces.registry import SpaceRecord, newest_listed
from emendo_config.store.formats import listed_spaces, spaces_value
from emendo_config.store.memory_fields import SPACE_FIELD
from emendo_workers.memories.change import Change

# Vectors of one text by space, each in its space's datatype.
Vectors = Sequence[tuple[SpaceRecord, bytes]]


class Spaces(NamedTuple):
    """The memory's `embedding_space` as it was read, and the registered spaces."""

    listed: str
    registered: Sequence[SpaceRecord]


def listed_after(changes: Sequence[Change], vectors: Vectors, spaces: Spaces) -> frozenset[str]:
    """The spaces the memory lists once these changes and vectors are written."""
    written = frozenset(space.name for space, _ in vectors)
    if changes[-1].after.hash != changes[0].before.hash:
        return written
    listed = listed_spaces(spaces.listed)
    return written | (listed & {space.name for space in spaces.registered}) if written else listed


def space_fields(changes: Sequence[Change], vectors: Vectors, spaces: Spaces) -> tuple[list[Any], list[str]]:
    """The hash fields to set and to remove when the commit changes the listing; usually it does not."""
    if len(vectors) == 1 and vectors[0][0].name == spaces.listed:
        return [], []
    if not vectors and changes[-1].after.hash == changes[0].before.hash:
        return [], []
    listed = listed_after(changes, vectors, spaces)
    value = spaces_value(listed)
    if value == spaces.listed:
        return [], []
    removed = [f"{VECTOR_PREFIX}{name}" for name in listed_spaces(spaces.listed) - listed]
    if not value:
        return [], [*removed, SPACE_FIELD]
    newest = newest_listed(spaces.registered, listed)
    return [SPACE_FIELD, value, *(("embedding_model", newest.space.model) if newest else ())], removed
