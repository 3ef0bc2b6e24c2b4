"""Erasing what the control plane knows of memories that were erased: the payloads of dead letters.

Records hold no text but their payload, which goes when a job ends. Jobs that still wait for an erased memory fail
without leaving a dead letter; those that are dead letters already lose that memory's content here.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from emendo_config.compact import compact_json, read_json
from emendo_config.redis_io import as_text
from emendo_workers import scripts
from emendo_workers.outcomes import CONTENT, ItemOutcome, Outcome
from emendo_workers.services import Services

_PAGE = 500


def forget_erased(outcomes: Iterable[ItemOutcome], services: Services) -> None:
    """Removes the content of memories erased just now from all dead letters.

    Runs before the outcomes are recorded: a worker that dies in between leaves jobs whose next attempt comes here
    again.
    """
    erased = {outcome.operation.memory_id for outcome in outcomes if outcome.operation.hard and outcome.result}
    if not erased:
        return
    # By cursor: it misses no letter because others come and go.
    letters = (as_text(record_id) for record_id, _ in services.control.zscan_iter(services.keys.dead, count=_PAGE))
    while page := list(itertools.islice(letters, _PAGE)):
        _scrub(page, erased, services)


def forget_late(outcomes: Iterable[Outcome], services: Services) -> None:
    """Removes from dead letters made just now what was erased while they were being made.

    That erasure looked for dead letters before these were recorded.
    """
    letters = [outcome.work for outcome in outcomes if outcome.is_dead]
    ids = sorted({operation.memory_id for work in letters for operation in work.operations})
    if not ids:
        return
    pipeline = services.data.pipeline(transaction=False)
    for memory_id in ids:
        pipeline.hexists(services.keys.memory(memory_id), "erased")
    # A key that Redis refuses to read so is no erased memory, and why its job failed.
    replies = pipeline.execute(raise_on_error=False)
    erased = {memory_id for memory_id, reply in zip(ids, replies, strict=True) if reply is True}
    if erased:
        _scrub([work.record_id for work in letters], erased, services)


def _scrub(record_ids: Sequence[str], erased: set[str], services: Services) -> None:
    control = services.control
    records = [services.keys.job(record_id) for record_id in record_ids]
    pipeline: Any = control.pipeline(transaction=False)
    for record in records:
        pipeline.hget(record, "payload")
    scrubs = []
    for record, raw in zip(records, pipeline.execute(), strict=True):
        payload = as_text(raw)
        kept = _without(payload, erased)
        if kept != payload:
            scrubs.append(scripts.scrub(record, payload, kept))
    scripts.run(control, scrubs)


def _without(payload: str, erased: set[str]) -> str:
    if not any(memory_id in payload for memory_id in erased):
        return payload
    document = read_json(payload)
    for operation in document["operations"]:
        if operation.get("memory_id") in erased:
            for name in CONTENT:
                operation.pop(name, None)
    return compact_json(document)
