"""Before the switch: compares the sizes of both indexes, and measures the recall of the new one."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from emendo_client.errors import VectorStoreError
from emendo_client.exchanges.memories import DIALECT
from emendo_client.requests.filters import Filter
from emendo_config.error_codes import ErrorCode
from emendo_config.spaces.index import describe
from emendo_config.spaces.registry import SpaceRecord
from emendo_config.store.pipeline import as_text
from emendo_workers.reembedding.migration import Migration, Wait
from emendo_workers.store import Store

# Memories whose neighbours are searched in both spaces, and how many neighbours.
SAMPLE = 50
NEAREST = 10
_SCOPE = ("user_id", "agent_id", "run_id")
# Seconds the sizes may differ, while memories come and go.
MAX_DIFFERENCE_SECONDS = 60.0
# Seconds until the indexes are compared again.
_POLL = 0.2


def verify(migration: Migration) -> Wait | bool:
    """True when the sizes agree and the recall is recorded.

    Raises:
        VectorStoreError: (INDEXES_DIFFER) the sizes have differed for MAX_DIFFERENCE_SECONDS seconds.
    """
    store, keys = migration.store, migration.store.keys
    source, target = migration.registered(migration.text("source")), migration.target
    assert source is not None  # the old space is registered until the new one is active
    indexes = [keys.index(source.name), keys.index(target.name)]
    if any(is_indexing(store, index) for index in indexes):
        return Wait(_POLL)
    sizes = _sizes(store, indexes)
    if sizes[0] != sizes[1]:
        if not migration.has("differ_since"):
            migration.advance({"differ_since": store.control_time()})
        elif store.control_time() - migration.seconds("differ_since") > MAX_DIFFERENCE_SECONDS:
            migration.advance({"differ_since": None})  # a resumed job waits as long again
            raise VectorStoreError(
                f"the old index has {sizes[0]} memories and the new one {sizes[1]}",
                error_code=ErrorCode.INDEXES_DIFFER,
                suggestion="emendo doctor --deep names memories that Redis could not index",
            )
        return Wait(_POLL)
    recall = _recall(store, indexes, source, target, sizes[0])
    migration.advance({"recall": None if recall is None else f"{recall:.4f}", "compared": 1})
    return True


def _sizes(store: Store, indexes: Sequence[str]) -> list[int]:
    """Memories in each index, counted in one transaction."""
    pipeline = store.data.pipeline(transaction=True)
    for index in indexes:
        pipeline.execute_command("FT.SEARCH", index, "*", "NOCONTENT", "LIMIT", 0, 0, *DIALECT)
    return [int(reply[0]) for reply in pipeline.execute()]


def is_indexing(store: Store, index: str) -> bool:
    """True while Redis still fills the index."""
    return describe(store.data.execute_command("FT.INFO", index)).is_filling


def _recall(store: Store, indexes: Sequence[str], source: SpaceRecord, target: SpaceRecord, size: int) -> float | None:
    """The average share of a memory's nearest neighbours that both spaces find; None when there are no memories."""
    first = random.randrange(max(1, size - SAMPLE))  # noqa: S311  # a sample, not a secret
    found: Any = store.data.execute_command(
        "FT.SEARCH", indexes[0], "@is_deleted:{0}", "NOCONTENT", "LIMIT", first, SAMPLE, *DIALECT
    )
    pipeline = store.data.pipeline(transaction=False)
    for key in found[1:]:
        pipeline.hmget(key, "project", *_SCOPE, source.field, target.field)
    pipeline_of_searches = store.data.pipeline(transaction=False)
    asked = 0
    for project, *scope, old, new in pipeline.execute():
        if old is None or new is None:  # deleted, or changed, a moment ago
            continue
        wanted = Filter()
        wanted.require("project", as_text(project))
        name, owner = next((name, owner) for name, owner in zip(_SCOPE, scope, strict=True) if owner)
        wanted.require(name, as_text(owner))
        for index, record, vector in ((indexes[0], source, old), (indexes[1], target, new)):
            parameters = [*wanted.parameters, "vector", vector]
            pipeline_of_searches.execute_command(
                *(
                    "FT.SEARCH",
                    index,
                    f"{wanted.expression(store.data_time())}=>[KNN {NEAREST} @{record.field} $vector AS distance]",
                ),
                *("PARAMS", len(parameters), *parameters),
                *("SORTBY", "distance", "ASC", "NOCONTENT", "LIMIT", 0, NEAREST, *DIALECT),
            )
        asked += 1
    if not asked:
        return None
    replies = iter(pipeline_of_searches.execute())
    shares = [
        len({*old[1:]} & {*new[1:]}) / len(old[1:]) for old, new in zip(replies, replies, strict=True) if len(old) > 1
    ]
    return sum(shares) / len(shares) if shares else None
