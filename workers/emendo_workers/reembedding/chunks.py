"""One chunk of memories that lack a vector: retried and accounted for like a batch's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emendo_client.errors import ConfigurationError, EmendoError
from emendo_client.models import JobStatus
from emendo_config.registry import named_space, read_registry
from emendo_workers.operations import Work
from emendo_workers.outcomes import ItemOutcome, Outcome, judge
from emendo_workers.reembedding.backfill import Backfilled, backfill
from emendo_workers.services import Services

# Seconds until a chunk looks again whether the re-embedding goes on.
PAUSED_LOOK = 5.0


def embed_chunk(work: Work, services: Services) -> Outcome:
    """Gives the chunk's memories their vectors; what of it was done before is only read.

    Raises:
        RedisError: Redis failed midway; the next attempt finds what was written.
    """
    operations = work.waiting
    if work.cancelled:
        items = [ItemOutcome(operation, cancelled=True) for operation in operations]
        return judge(work, items, services.settings, services.rng)
    if services.control.hexists(services.keys.migration, "paused"):
        return Outcome(work, JobStatus.RETRYING, _settled(work), delay=PAUSED_LOOK, refund=True)
    found = _backfill(work, services)
    _list_failures(found, services)
    items = [
        ItemOutcome(operation, error=answer)
        if isinstance(answer := found[operation.memory_id], EmendoError)
        else ItemOutcome(operation, result={"memory_id": operation.memory_id, "event": None, "error": None})
        for operation in operations
    ]
    return judge(work, items, services.settings, services.rng)


def _backfill(work: Work, services: Services) -> Mapping[str, Backfilled | EmendoError]:
    ids = [operation.memory_id for operation in work.waiting]
    records = read_registry(services.data, services.keys)
    services.background.keep(records)
    space = named_space(records, work.operations[0].space)
    if space is None or not space.is_written:  # it was cancelled, and this chunk is late
        return dict.fromkeys(ids, Backfilled.GONE)
    try:
        anew = work.operations[0].anew
        return backfill(services, ids, space, anew=anew, pipeline_of=services.background.of)
    except ConfigurationError as error:
        return dict.fromkeys(ids, error)


def _list_failures(found: Mapping[str, Backfilled | EmendoError], services: Services) -> None:
    codes: Any = {name: answer.error_code for name, answer in found.items() if isinstance(answer, EmendoError)}
    pipeline = services.control.pipeline(transaction=False)
    if codes:
        pipeline.hset(services.keys.migration_failures, mapping=codes)
    if len(codes) < len(found):
        pipeline.hdel(services.keys.migration_failures, *(found.keys() - codes.keys()))
    pipeline.execute()


def _settled(work: Work) -> list[dict[str, Any] | None]:
    return [work.settled.get(place) for place in range(len(work.operations))]
