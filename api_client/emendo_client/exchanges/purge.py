"""Deleting many memories: their ids, and the operations and jobs that delete or erase them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from emendo_client.errors import VectorStoreError
from emendo_client.exchanges.candidates import narrowed
from emendo_client.exchanges.exchange import Exchange, RoundTrip, time_of_data
from emendo_client.requests.filters import Filter
from emendo_client.requests.jobs import JobRequest
from emendo_client.requests.operations import Document, new_job_id
from emendo_config import Keys
from emendo_config.error_codes import ErrorCode
from emendo_config.json_codec import compact_json
from emendo_config.queues import MAINTENANCE
from emendo_config.spaces.index import describe
from emendo_config.store.clock import RedisClock
from emendo_config.store.pipeline import as_text

_PAGE = 1_000
# The kind of the job that erases a user.
ERASE_USER = "erase_user"


def deleted_ids(keys: Keys, clock: RedisClock, project: str, before: int) -> Exchange[list[str]]:
    """The ids of the project's memories that were deleted or had expired before `before` (microseconds)."""
    now = yield from time_of_data(clock)
    wanted = Filter()
    wanted.require("project", project)
    # The index holds milliseconds, so the limit is rounded up. The worker compares exactly and spares the excess.
    deleted, expired = before // 1_000 + 1, min(before // 1_000 + 1, int(now * 1000))
    query = f"{wanted.clauses_only} ((@is_deleted:{{1}} @deleted_ms:[-inf ({deleted}]) | @expires_ms:[-inf {expired}])"
    return (yield from _all_ids(keys, wanted, query))


def ids_in(keys: Keys, clock: RedisClock, wanted: Filter, *, include_deleted: bool) -> Exchange[list[str]]:
    """The ids of the memories that match; with `include_deleted` also of deleted and expired ones."""
    now = yield from time_of_data(clock)
    query = wanted.clauses_only if include_deleted else wanted.expression(now)
    return (yield from _all_ids(keys, (yield from narrowed(keys, wanted, query)), query))


def _all_ids(keys: Keys, wanted: Filter, query: str) -> Exchange[list[str]]:
    """The ids of all memories that the query finds.

    Raises:
        VectorStoreError: (NO_INDEX) Redis still fills the index.
    """
    info, reply = yield RoundTrip(
        "data",
        [
            ("FT.INFO", keys.index_alias),
            (
                *("FT.AGGREGATE", keys.index_alias, query, *wanted.only),
                *("PARAMS", len(wanted.parameters), *wanted.parameters),
                *("LOAD", 1, "@__key", "WITHCURSOR", "COUNT", _PAGE, "DIALECT", 2),
            ),
        ],
    )
    if describe(info).is_filling:  # some of the memories would stay
        raise VectorStoreError(
            "the search index is being rebuilt, and does not have all memories yet",
            error_code=ErrorCode.NO_INDEX,
            suggestion=f"try again when Redis has filled it: FT.INFO {keys.index_alias} says how far it is",
        )
    # A memory that changes meanwhile may be shown twice.
    found: dict[str, None] = {}
    while True:
        rows, cursor = reply
        # The key decides: the id in a damaged memory may be another one's.
        found |= dict.fromkeys(each for row in rows[1:] if (each := keys.memory_id(as_text(row[1]))))
        if not cursor:
            return list(found)
        (reply,) = yield RoundTrip("data", [("FT.CURSOR", "READ", keys.index_alias, cursor, "COUNT", _PAGE)])


def erasures(ids: Iterable[str], before: int) -> Iterator[Document]:
    """Hard deletes that spare a memory restored in the meantime."""
    for memory_id in ids:
        yield {"op": "delete", "memory_id": memory_id, "hard": True, "deleted_before": before}


def deletions(ids: Iterable[str], *, hard: bool) -> Iterator[Document]:
    """Deletes, with `hard` erasures."""
    for memory_id in ids:
        yield {"op": "delete", "memory_id": memory_id, "hard": hard}


def user_erasure(project: str, user_id: str) -> JobRequest:
    """The job that erases all that the project holds of a user."""
    document = {"op": "erase_user", "memory_id": "", "user_id": user_id}
    return JobRequest(
        job_id=new_job_id(),
        kind=ERASE_USER,
        project=project,
        routing_id=user_id,
        memory_id="",
        payload=compact_json({"operations": [document]}),
        items=1,
        queue=MAINTENANCE,
        erases=True,
    )
