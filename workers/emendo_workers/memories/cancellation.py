"""Cancelled jobs: an attempt that ends one makes sure that no older attempt commits any of it later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from emendo_config.store import scripts
from emendo_config.store.formats import CANCELLED_VALUE, parse_applied
from emendo_workers.jobs.operations import Infer, Invalid
from emendo_workers.jobs.outcomes import ItemOutcome
from emendo_workers.jobs.work import Work
from emendo_workers.memories.change import applied_result
from emendo_workers.store import Store


def fence_cancelled(
    worked: Sequence[tuple[Work, list[ItemOutcome]]], store: Store
) -> list[tuple[Work, list[ItemOutcome]]]:
    """Fences the items of cancelled jobs that have no effect; those that an older attempt committed get its result.

    An older attempt may stand still between its last look at the cancellation and its commit. The applied key decides
    which of the two comes first. A first attempt that did nothing has none before it.
    """
    fenced = [
        (place, index)
        for place, (work, items) in enumerate(worked)
        if any(item.cancelled for item in items) and not (work.is_first and all(item.cancelled for item in items))
        for index, item in enumerate(items)
        if item.result is None and not item.busy and not isinstance(item.operation, Infer | Invalid)
    ]
    if not fenced:
        return list(worked)
    settled = [(work, list(items)) for work, items in worked]
    chosen = [settled[place][1][index] for place, index in fenced]
    commands = [
        scripts.fence(
            applied=store.keys.applied(item.operation.memory_id, item.operation.applied_id),
            value=CANCELLED_VALUE,
            ttl=store.settings.job_ttl,
        )
        for item in chosen
    ]
    values = scripts.fence.replies(scripts.run(store.data, commands))
    for (place, index), item, value in zip(fenced, chosen, values, strict=True):
        applied = parse_applied(value)
        if not applied.is_cancelled:
            done = replace(item, result=applied_result(item.operation, applied), error=None, cancelled=False)
            settled[place][1][index] = done
    return settled
