"""Before the switch: both indexes have the same memories, and how alike their answers are."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any

from emendo_client.errors import VectorStoreError
from emendo_client.filters import Filter
from emendo_client.reads import DIALECT
from emendo_config.redis_io import as_text
from emendo_config.registry import SpaceRecord
from emendo_workers.reembedding.migration import Migration, Wait
from emendo_workers.services import Services

# Memories whose neighbours are looked for in both spaces, and how many neighbours.
SAMPLE = 50
NEAREST = 10
_SCOPE = ("user_id", "agent_id", "run_id")
# Seconds the counts may differ, while memories come and go; and seconds between two looks.
PATIENCE = 60.0
_LOOK = 0.2


def verify(migration: Migration) -> Wait | bool:
    """True when the indexes agree, and the recall is noted.

    Raises:
        VectorStoreError: (INDEXES_DIFFER) they have not agreed for PATIENCE seconds.
    """
    services, keys = migration.services, migration.services.keys
    source, target = migration.registered(migration.text("source")), migration.target
    assert source is not None  # the old space is registered until the new one is active
    indexes = [keys.index(source.name), keys.index(target.name)]
    if _is_indexing(services, indexes[1]):
        return Wait(_LOOK)
    sizes = _sizes(services, indexes)
    if sizes[0] != sizes[1]:
        if not migration.has("differ_since"):
            migration.advance({"differ_since": time.time()})
        elif time.time() - migration.seconds("differ_since") > PATIENCE:
            migration.advance({"differ_since": None})  # asked to go on, it is as patient again
            raise VectorStoreError(
                f"the old index has {sizes[0]} memories and the new one {sizes[1]}",
                error_code="INDEXES_DIFFER",
                suggestion="emendo doctor --deep names memories that Redis could not index",
            )
        return Wait(_LOOK)
    recall = _recall(services, indexes, source, target, sizes[0])
    migration.advance({"recall": None if recall is None else f"{recall:.4f}", "compared": 1})
    return True


def _sizes(services: Services, indexes: Sequence[str]) -> list[int]:
    """Memories in each, counted at one moment."""
    pipeline = services.data.pipeline(transaction=True)
    for index in indexes:
        pipeline.execute_command("FT.SEARCH", index, "*", "NOCONTENT", "LIMIT", 0, 0, *DIALECT)
    return [int(reply[0]) for reply in pipeline.execute()]


def _is_indexing(services: Services, index: str) -> bool:
    reply: Any = services.data.execute_command("FT.INFO", index)
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=False)
    info = {as_text(name): value for name, value in pairs}
    return bool(int(as_text(info["indexing"])))


def _recall(
    services: Services, indexes: Sequence[str], source: SpaceRecord, target: SpaceRecord, size: int
) -> float | None:
    """Of a memory's nearest in the old space, the share the new one finds, too; on average, None for no memories."""
    first = random.randrange(max(1, size - SAMPLE))  # noqa: S311  # a sample, not a secret
    found: Any = services.data.execute_command(
        "FT.SEARCH", indexes[0], "@is_deleted:{0}", "NOCONTENT", "LIMIT", first, SAMPLE, *DIALECT
    )
    pipeline = services.data.pipeline(transaction=False)
    for key in found[1:]:
        pipeline.hmget(key, "project", *_SCOPE, source.field, target.field)
    pipeline_of_searches = services.data.pipeline(transaction=False)
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
                *("FT.SEARCH", index, f"{wanted.expression}=>[KNN {NEAREST} @{record.field} $vector AS distance]"),
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
