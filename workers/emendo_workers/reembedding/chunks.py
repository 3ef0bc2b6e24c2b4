"""One chunk of memories that lack a vector: retried and counted like a batch job's chunk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emendo_client.errors import ConfigurationError, EmendoError
from emendo_client.models import JobStatus
from emendo_config.spaces.registry import named_space, read_registry
from emendo_workers.jobs.operations import Embed
from emendo_workers.jobs.outcomes import ItemOutcome, Outcome
from emendo_workers.jobs.settlement import settle
from emendo_workers.jobs.work import Work
from emendo_workers.memories.backfill import Backfilled, backfill
from emendo_workers.services import Services
from emendo_workers.store import Store

# Seconds until a job or chunk of a paused re-embedding looks again whether it goes on.
PAUSED_POLL = 5.0


def embed_chunk(work: Work, services: Services) -> Outcome:
    """Gives the chunk's memories their vectors; memories that have theirs are only read.

    Raises:
        RedisError: Redis failed midway; the next attempt finds what was written.
    """
    operations, store = work.waiting, services.store
    if work.cancelled:
        items = [ItemOutcome(operation, cancelled=True) for operation in operations]
        return settle(work, items, store.settings, services.rng)
    if store.control.hexists(store.keys.migration, "paused"):
        return Outcome(work, JobStatus.RETRYING, _settled(work), delay=PAUSED_POLL, refund=True)
    found = _backfill(work, services)
    _record_failures(found, store)
    items = [
        ItemOutcome(operation, error=answer)
        if isinstance(answer := found[operation.memory_id], EmendoError)
        else ItemOutcome(operation, result={"memory_id": operation.memory_id, "event": None, "error": None})
        for operation in operations
    ]
    return settle(work, items, store.settings, services.rng)


def _backfill(work: Work, services: Services) -> Mapping[str, Backfilled | EmendoError]:
    ids = [operation.memory_id for operation in work.waiting]
    records = read_registry(services.store.data, services.store.keys)
    services.background_pipelines.retain(records)
    first = work.operations[0]
    assert isinstance(first, Embed)  # other operations are worked elsewhere
    space = named_space(records, first.space)
    if space is None or not space.is_written:  # the re-embedding was cancelled, and this chunk is late
        return dict.fromkeys(ids, Backfilled.GONE)
    try:
        return backfill(services, ids, space, overwrite=first.anew, pipeline_of=services.background_pipelines.of)
    except ConfigurationError as error:
        return dict.fromkeys(ids, error)


def _record_failures(found: Mapping[str, Backfilled | EmendoError], store: Store) -> None:
    """Keeps the list of memories that could not be embedded, with their error codes."""
    codes: Any = {name: answer.error_code for name, answer in found.items() if isinstance(answer, EmendoError)}
    pipeline = store.control.pipeline(transaction=False)
    if codes:
        pipeline.hset(store.keys.migration_failures, mapping=codes)
    if len(codes) < len(found):
        pipeline.hdel(store.keys.migration_failures, *(found.keys() - codes.keys()))
    pipeline.execute()


def _settled(work: Work) -> list[dict[str, Any] | None]:
    return [work.settled.get(place) for place in range(len(work.operations))]
