"""Inference, from conversations to the outcome of each fact: facts → embed → search → decide → plan → carry out.

All of it happens under the lock of the scope. Results that cost money are stored before the next step begins: the facts
once they are found, the plan once it is made. So an attempt goes on where the one before it ended. A stored plan is
carried out whatever happens to its worker, like every other operation.
"""

from __future__ import annotations

from collections.abc import Sequence

from emendo_config import metric_families as metrics
from emendo_workers.inference.carry_out import carry_out
from emendo_workers.inference.dry_run import dry_run_results
from emendo_workers.inference.inferred_add import InferredAdd
from emendo_workers.inference.planner import Planner
from emendo_workers.inference.scope import locked
from emendo_workers.inference.stages import Stages
from emendo_workers.inference.vectors import Vectors
from emendo_workers.jobs.outcomes import ItemOutcome
from emendo_workers.jobs.work import DRY_RUN, Work
from emendo_workers.services import Services
from emendo_workers.store import Store


def infer(works: Sequence[Work], services: Services) -> list[tuple[Work, list[ItemOutcome]]]:
    """Infers from conversations and carries the plans out.

    Args:
        works: attempts at conversations, with a plan or without one.
        services: the worker's; without a chat model messages are the facts, and each new one is added.

    Returns:
        Each attempt as it is now, in their order, with an outcome for each of its waiting operations. A plan may have
        replaced the operations.

    Raises:
        RedisError: Redis failed midway. Stored payloads and commits stay, and a further attempt goes on from there.
    """
    adds = [InferredAdd(work) for work in works]
    stages, vectors = Stages(services), Vectors(services)
    planner = Planner(services, stages, vectors)
    with locked(services, [add.scope for add in adds if add.scoped is not None]) as held:
        ours = []
        for add in adds:
            if add.scoped is not None and add.scope not in held:
                add.end(busy=True)
            elif add.work.cancelled and not add.work.is_planned:
                add.end(cancelled=True)
            else:
                ours.append(add)
        new = [add for add in ours if not add.work.is_planned]
        with services.store.tally.stage(metrics.PROVIDER, "plan"):
            planner.make_plans(new, [add for add in ours if add.work.is_planned])
        planned = [add for add in ours if add.work.is_planned]
        _report_dry_runs(services.store, [add for add in planned if DRY_RUN in add.work.head])
        carry_out([add for add in planned if DRY_RUN not in add.work.head], services, planner, stages, vectors)
    return [(add.work, add.items) for add in adds]


def _report_dry_runs(store: Store, adds: Sequence[InferredAdd]) -> None:
    for add in adds:
        waiting = add.waiting
        results = dry_run_results(store, list(waiting.values()))
        for (place, operation), result in zip(waiting.items(), results, strict=True):
            add.outcomes[place] = ItemOutcome(operation, result=result)
