"""Erasing what the control plane knows of memories that were erased: the payloads of dead letters.

Records hold no text but their payload, which goes when a job ends. Jobs that still wait for an erased memory fail
without leaving a dead letter; those that are dead letters already lose that memory's content here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from emendo_config.compact import compact_json
from emendo_config.redis_io import as_text
from emendo_workers import scripts
from emendo_workers.outcomes import CONTENT, ItemOutcome
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
    control, keys = services.control, services.keys
    start = 0
    while True:
        page: Any = control.zrange(keys.dead, start, start + _PAGE - 1)
        if not page:
            return
        records = [keys.job(as_text(record_id)) for record_id in page]
        pipeline = control.pipeline(transaction=False)
        for record in records:
            pipeline.hget(record, "payload")
        scrubs = []
        for record, raw in zip(records, pipeline.execute(), strict=True):
            payload = as_text(raw)
            kept = _without(payload, erased)
            if kept != payload:
                scrubs.append(scripts.scrub(record, payload, kept))
        scripts.run(control, scrubs)
        start += len(page)


def _without(payload: str, erased: set[str]) -> str:
    if not any(memory_id in payload for memory_id in erased):
        return payload
    document = json.loads(payload)
    for operation in document["operations"]:
        if operation.get("memory_id") in erased:
            for name in CONTENT:
                operation.pop(name, None)
    return compact_json(document)
