"""The memories that a new fact is compared with: those of exactly its owner, nearest first."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from emendo_client.errors import ValidationError, VectorStoreError
from emendo_client.exchanges.candidates import narrowed
from emendo_client.exchanges.memories import nearest
from emendo_client.providers.embeddings.vectors import converted
from emendo_client.records.memories import memories_found
from emendo_client.requests.filters import Filter, scoped
from emendo_config.error_codes import ErrorCode
from emendo_config.spaces.bootstrap import indexed_space
from emendo_config.spaces.index import find_active
from emendo_config.spaces.registry import SpaceRecord, registered_spaces
from emendo_config.store import scripts
from emendo_config.store.memory_fields import COMMIT_FIELD
from emendo_config.store.pipeline import as_text
from emendo_workers.inference.scope import scope_of
from emendo_workers.inference.types import Neighbour, SearchHit
from emendo_workers.jobs.operations import OWNER, Scoped, owner_of
from emendo_workers.jobs.submit import run_exchange
from emendo_workers.store import Store

logger = logging.getLogger(__name__)

_COMMIT = COMMIT_FIELD.encode()
# Neighbours that are fetched first, for each that is wanted, where the index cannot tell whose they are.
_TIMES_MORE = 4


def search(store: Store, space: SpaceRecord, queries: Sequence[tuple[Scoped, bytes]]) -> list[list[SearchHit]]:
    """The memories of each operation's owner that are nearest to its vector, nearest first.

    A memory's owner is all three of its ids: one that has a further id belongs to somebody else, however near it is.
    With `EMENDO_INFERENCE_SHARED_SCOPES` it is what `client.search` with the operation's ids finds.

    Args:
        store: connections, keys, settings.
        space: the active one.
        queries: each vector as float32[dimensions] bytes, of that space.

    Raises:
        VectorStoreError: (SPACE_SWITCHED) another space has become the active one.
    """
    wanted = [
        _Wanted(each, _filter_of(each, store), converted(vector, "float32", space.datatype)) for each, vector in queries
    ]
    try:
        return _found(store, space, wanted)
    except ResponseError as error:
        if searched_space(store).name == space.name:
            raise
        raise VectorStoreError(
            "another embedding space became the active one", error_code=ErrorCode.SPACE_SWITCHED
        ) from error


class _Wanted(NamedTuple):
    """One search: whose memories, and near what (bytes in the space's datatype)."""

    operation: Scoped
    filter: Filter
    vector: bytes


def _filter_of(operation: Scoped, store: Store) -> Filter:
    user_id, agent_id, run_id = operation.user_id, operation.agent_id, operation.run_id
    absent = {} if store.settings.inference_shared_scopes else _absent(operation)
    return scoped(operation.project, user_id, agent_id, run_id, absent or None, all_users=False)


def _absent(operation: Scoped) -> dict[str, dict[str, bool]]:
    owner = zip(OWNER, owner_of(operation), strict=True)
    return {name: {"exists": False} for name, value in owner if not value}


def _found(store: Store, space: SpaceRecord, queries: Sequence[_Wanted]) -> list[list[SearchHit]]:
    wanted = store.settings.inference_neighbours
    # The index does not know that an id is absent. Mostly enough of the nearest memories lack it.
    counts = [wanted if each.filter.residual is None else wanted * _TIMES_MORE for each in queries]
    replies = _nearest(store, space, zip(queries, counts, strict=True))
    found = [_hits(reply, space, each, store)[:wanted] for reply, each in zip(replies, queries, strict=True)]
    short = [
        place
        for place, (reply, count) in enumerate(zip(replies, counts, strict=True))
        if counts[place] > wanted > len(found[place]) and int(reply[0]) >= count
    ]
    narrow: dict[str, Filter | None] = {}  # most queries of an attempt have the same owner
    for place in short:
        name = scope_of(queries[place].operation)
        if name not in narrow:
            narrow[name] = _narrowed(store, queries[place].filter)
    again = [
        (place, queries[place]._replace(filter=limited))
        for place in short
        if (limited := narrow[scope_of(queries[place].operation)]) is not None
    ]
    replies = _nearest(store, space, ((each, wanted) for _, each in again))
    for (place, each), reply in zip(again, replies, strict=True):
        found[place] = _hits(reply, space, each, store)
    return found


def _narrowed(store: Store, wanted: Filter) -> Filter | None:
    """The filter, limited to the memories that meet it; None where those of others are too many to look through."""
    try:
        return run_exchange(store, narrowed(store.keys, wanted, wanted.expression(store.data_time())))
    except ValidationError as error:
        if error.error_code != ErrorCode.FILTER_TOO_BROAD:
            raise
        logger.warning("not all memories beside an owner's could be looked through")
        return None


def _nearest(store: Store, space: SpaceRecord, queries: Iterable[tuple[_Wanted, int]]) -> list[Any]:
    now = store.data_time()
    return scripts.run(
        store.data,
        [
            tuple(nearest(store.keys, each.filter, space.field, each.vector, count, now=now, more=(COMMIT_FIELD,)))
            for each, count in queries
        ],
    )


def _hits(reply: Any, space: SpaceRecord, wanted: _Wanted, store: Store) -> list[SearchHit]:
    rows = (dict(zip(flat[::2], flat[1::2], strict=True)) for flat in reply[2::2])
    commits = {as_text(row.get(b"id")): as_text(row.get(_COMMIT)) for row in rows}
    return [
        SearchHit(Neighbour(hit.id, hit.memory, hit.version, commits[hit.id]), hit.score)
        for hit in memories_found(reply, scored=True, metric=space.metric)[1]
        if store.settings.inference_shared_scopes or owner_of(hit) == owner_of(wanted.operation)
    ]


def searched_space(store: Store) -> SpaceRecord:
    """The active space: the one whose index the alias stands for.

    Raises:
        VectorStoreError: there is no index just now; the sweeper creates it again.
    """
    indexed = indexed_space(store.data, store.keys)
    if indexed is None:
        raise VectorStoreError("the search index is not there", error_code=ErrorCode.NO_INDEX)
    registry: Any = store.data.hgetall(store.keys.spaces)
    return find_active(indexed, registered_spaces(registry, store.settings))
