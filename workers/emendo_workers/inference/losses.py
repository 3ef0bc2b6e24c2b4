"""Changes that lose content: a DELETE, and an UPDATE that drops most of a memory's text. One job may make few of them.

All chunks of a batch job share the limit. Each owner has a limit of its own: a conversation changes no other memories.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emendo_client.records.derived_fields import text_hash
from emendo_config.store import scripts
from emendo_workers.inference.inferred_add import InferredAdd
from emendo_workers.inference.types import Action, Decision, Neighbour
from emendo_workers.memories.history import text_before
from emendo_workers.store import Store


def granted_losses(store: Store, add: InferredAdd, wanted: int, most: int) -> int:
    """How many changes that lose content the whole plan of an add may make.

    Args:
        store: connections, keys.
        add: a single one, or a chunk of a batch job.
        wanted: how many it would make.
        most: by the job, in the memories of one owner.
    """
    if not add.work.is_chunk:
        return most
    command = scripts.reserve_losses(
        record=store.keys.job(add.work.record_id),
        job=store.keys.job(add.work.job_id),
        field=f"losses:{text_hash(add.scope)}",
        wanted=wanted,
        most=most,
    )
    return scripts.reserve_losses.reply(scripts.run(store.control, [command])[0])


def texts_before(
    store: Store, add: InferredAdd, decided: Mapping[int, Sequence[Decision]], neighbours: Sequence[Neighbour]
) -> dict[str, str]:
    """The texts, by memory, that updates are held against, where they are not the present ones.

    A batch job may change one memory in several chunks, each of which loses little.
    """
    if not add.work.is_chunk:  # one plan changes a memory once
        return {}
    changed = {
        neighbours[decision.neighbour].memory_id
        for decisions in decided.values()
        for decision in decisions
        if decision.action is Action.UPDATE and decision.neighbour is not None
    }
    return {memory_id: text_before(store, memory_id, add.work.job_id) or "" for memory_id in changed}
