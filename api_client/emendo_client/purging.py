"""Finding what was deleted or had expired before a moment, and asking for its erasure."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from emendo_client.filters import Filter
from emendo_client.operations import Document
from emendo_client.steps import Batch, Steps
from emendo_config import Keys
from emendo_config.redis_io import as_text

_PAGE = 1_000


def deleted_ids(keys: Keys, project: str, before: int) -> Steps[list[str]]:
    """Ids of the project's memories that were deleted or had expired before `before` (microseconds)."""
    wanted = Filter()
    wanted.require("project", project)
    # In milliseconds, as the index has them: one too many is found here and spared by the worker, none is missed.
    deleted, expired = before // 1_000 + 1, min(before // 1_000 + 1, int(time.time() * 1000))
    query = f"{wanted.clauses_only} ((@is_deleted:{{1}} @deleted_ms:[-inf ({deleted}]) | @expires_ms:[-inf {expired}])"
    (reply,) = yield Batch(
        "data",
        [
            (
                *("FT.AGGREGATE", keys.index_alias, query),
                *("PARAMS", len(wanted.parameters), *wanted.parameters),
                *("LOAD", 1, "@id", "WITHCURSOR", "COUNT", _PAGE, "DIALECT", 2),
            )
        ],
    )
    found: list[str] = []
    while True:
        rows, cursor = reply
        found += [as_text(row[1]) for row in rows[1:]]
        if not cursor:
            return found
        (reply,) = yield Batch("data", [("FT.CURSOR", "READ", keys.index_alias, cursor, "COUNT", _PAGE)])


def erasures(ids: Iterable[str], before: int) -> Iterator[Document]:
    """Hard deletes that spare what was restored meanwhile."""
    for memory_id in ids:
        yield {"op": "delete", "memory_id": memory_id, "hard": True, "deleted_before": before}
