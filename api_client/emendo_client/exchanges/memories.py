"""Reads of memories: get and search."""

from __future__ import annotations

from collections.abc import Sequence

from emendo_client.errors import MemoryNotFoundError
from emendo_client.exchanges.candidates import narrowed
from emendo_client.exchanges.exchange import Exchange, RoundTrip, time_of_data
from emendo_client.models import Memory, SearchHit
from emendo_client.records.memories import memories_found, readable_memory, visible_memory
from emendo_client.requests.filters import Filter
from emendo_config import Keys, Settings
from emendo_config.spaces.index import find_active, vector_field
from emendo_config.spaces.registry import SpaceRecord, registered_spaces
from emendo_config.store.clock import RedisClock, seconds_of
from emendo_config.store.memory_fields import MEMORY_FIELDS
from emendo_config.store.pipeline import Command

DIALECT = ("DIALECT", 2)
MAX_SEARCH_LIMIT = 1_000
SEARCH_MODES = ("vector", "hybrid")
# Neighbours beyond the limit that are fetched first for a filter that the index cannot decide alone.
_MORE_NEIGHBOURS = 100
_READ_AT_A_TIME = 500
# Attempts at one search: Redis refuses it if the active embedding space changed after the space was read.
SEARCH_ATTEMPTS = 3


def get(keys: Keys, project: str, memory_id: str, *, include_deleted: bool) -> Exchange[Memory]:
    """One memory by its id.

    Raises:
        MemoryNotFoundError: the project has no such memory, or it is deleted or expired.
    """
    values, now = yield RoundTrip("data", [("HMGET", keys.memory(memory_id), *MEMORY_FIELDS), ("TIME",)])
    memory = visible_memory(values, project, seconds_of(now), include_deleted=include_deleted)
    if memory is None:
        raise no_memory(memory_id)
    return memory


def get_each(keys: Keys, project: str, memory_ids: Sequence[str]) -> Exchange[dict[str, Memory]]:
    """The memories that the project has under these ids, also deleted ones; the ids that it has nothing under lack."""
    found: dict[str, Memory] = {}
    for first in range(0, len(memory_ids), _READ_AT_A_TIME):
        part = memory_ids[first : first + _READ_AT_A_TIME]
        replies = yield RoundTrip("data", [("HMGET", keys.memory(each), *MEMORY_FIELDS) for each in part])
        for memory_id, values in zip(part, replies, strict=True):
            memory = readable_memory(values, project, 0.0, include_deleted=True)
            if memory is not None:
                found[memory_id] = memory
    return found


def active_space(keys: Keys, settings: Settings) -> Exchange[SpaceRecord]:
    """The active embedding space: the one whose index the alias names.

    Raises:
        ConfigurationError: the alias names an index of no registered space.
    """
    info, registry = yield RoundTrip("data", [("FT.INFO", keys.index_alias), ("HGETALL", keys.spaces)])
    return find_active(vector_field(info), registered_spaces(registry, settings))


def search(
    keys: Keys, wanted: Filter, field: str, vector: bytes, limit: int, *, clock: RedisClock, metric: str = "cosine"
) -> Exchange[list[SearchHit]]:
    """The memories nearest to `vector`, nearest first.

    Redis refuses the search if the alias names an index without the field.

    Args:
        keys: key names.
        wanted: the scope.
        field: the vector field of the active space.
        vector: bytes of datatype[dimensions], as that space has them.
        limit: the largest number of results.
        clock: of the data Redis.
        metric: the metric of that space.
    """
    now = yield from time_of_data(clock)
    if wanted.residual is not None:
        # Most filters admit enough of the nearest memories. If not, those that it admits are looked for first.
        count = min(4 * limit, limit + _MORE_NEIGHBOURS)
        (reply,) = yield RoundTrip("data", [nearest(keys, wanted, field, vector, count, now=now)])
        found: list[SearchHit] = memories_found(reply, scored=True, metric=metric, admits=wanted.admits)[1]
        if len(found) >= limit or int(reply[0]) < count:
            return found[:limit]
        wanted = yield from narrowed(keys, wanted, wanted.expression(now))
    (reply,) = yield RoundTrip("data", [nearest(keys, wanted, field, vector, limit, now=now)])
    return memories_found(reply, scored=True, metric=metric)[1]


def nearest(
    keys: Keys, wanted: Filter, field: str, vector: bytes, limit: int, *, now: float, more: tuple[str, ...] = ()
) -> Command:
    """The command whose reply `memories_found` reads into SearchHit objects at `now` (seconds); see `search`.

    The reply has the fields of `more`, too.
    """
    parameters = [*wanted.parameters, "vector", vector, "limit", limit]
    returned = [*MEMORY_FIELDS, "distance", *more]
    return (
        "FT.SEARCH",
        keys.index_alias,
        f"{wanted.expression(now)}=>[KNN $limit @{field} $vector AS distance]",
        *wanted.only,
        *("PARAMS", len(parameters), *parameters),
        *("SORTBY", "distance", "ASC"),
        *("LIMIT", 0, limit),
        *("RETURN", len(returned), *returned),
        *DIALECT,
    )


def no_memory(memory_id: str) -> MemoryNotFoundError:
    """The error for a memory id that the project does not have."""
    return MemoryNotFoundError(
        "no such memory in this project",
        details={"memory_id": memory_id},
        suggestion="it may be deleted: restore(memory_id) brings a deleted memory back",
    )
