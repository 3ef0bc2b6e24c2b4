"""How each kind of job is worked: one table."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from enum import StrEnum

from emendo_config import metric_families as metrics
from emendo_workers.inference.run import infer
from emendo_workers.jobs.dead_letter_erasure import redact_dead_letters
from emendo_workers.jobs.operations import Embed, EraseUser, Migrate, Operation
from emendo_workers.jobs.outcomes import ItemOutcome, Outcome
from emendo_workers.jobs.settlement import settle
from emendo_workers.jobs.work import Work
from emendo_workers.memories.apply import apply_operations
from emendo_workers.memories.cancellation import fence_cancelled
from emendo_workers.memories.durability import wait_durable
from emendo_workers.memories.erasure import finish_erasures
from emendo_workers.providers.text_merger import TextMerger
from emendo_workers.reembedding.chunks import embed_chunk
from emendo_workers.reembedding.phases import take_steps
from emendo_workers.services import Services
from emendo_workers.user_erasure.run import erase_user


class WorkKind(StrEnum):
    """The kinds of attempts."""

    APPLY = "apply"  # carries out operations on memories
    INFER = "infer"  # makes operations of a conversation and carries them out
    EMBED = "embed"  # gives a chunk of memories their vectors of another space
    MIGRATE = "migrate"  # takes the next steps of a re-embedding
    ERASE_USER = "erase_user"  # takes the next steps of erasing a user


def kind_of(work: Work) -> WorkKind:
    """The kind of an attempt."""
    if work.is_inferred:
        return WorkKind.INFER
    return _KINDS.get(type(work.operations[0]), WorkKind.APPLY) if work.operations else WorkKind.APPLY


def outcomes_of(works: Sequence[Work], services: Services, merger: TextMerger | None) -> list[Outcome]:
    """Works the jobs; an outcome for each, in any order.

    Args:
        works: attempts of any kinds.
        services: the worker's.
        merger: merges texts; without one, jobs that need it are handed to an inference shard.

    Raises:
        RedisError: Redis failed midway; what was committed stays, and a further attempt finds it.
    """
    of_kind: dict[WorkKind, list[Work]] = {}
    for work in works:
        of_kind.setdefault(kind_of(work), []).append(work)
    return [
        outcome
        for kind, handler in HANDLERS.items()
        if kind in of_kind
        for outcome in handler(of_kind[kind], services, merger)
    ]


def _apply(works: Sequence[Work], services: Services, merger: TextMerger | None) -> list[Outcome]:
    operations = [operation for work in works for operation in work.waiting]
    cancelled = {work.job_id for work in works if work.cancelled}
    outcomes = iter(apply_operations(operations, services, merger=merger, cancelled=cancelled))
    return _settled([(work, list(itertools.islice(outcomes, len(work.waiting)))) for work in works], services)


def _settled(worked: list[tuple[Work, list[ItemOutcome]]], services: Services) -> list[Outcome]:
    """The outcomes of jobs that changed memories, once erasures are whole and strong changes are durable."""
    with services.store.tally.stage(metrics.COMMIT, "settle"):
        pairs = fence_cancelled(worked, services.store)
        items = finish_erasures([item for _, its in pairs for item in its], services)
        redact_dead_letters(items, services.store)
        durable = iter(wait_durable(items, services.store))
    return [
        settle(work, list(itertools.islice(durable, len(its))), services.settings, services.rng) for work, its in pairs
    ]


_KINDS: dict[type[Operation], WorkKind] = {
    Embed: WorkKind.EMBED,
    Migrate: WorkKind.MIGRATE,
    EraseUser: WorkKind.ERASE_USER,
}
Handler = Callable[[Sequence[Work], Services, TextMerger | None], list[Outcome]]
HANDLERS: dict[WorkKind, Handler] = {
    WorkKind.APPLY: _apply,
    WorkKind.INFER: lambda works, services, _: _settled(infer(works, services), services),
    WorkKind.EMBED: lambda works, services, _: [embed_chunk(work, services) for work in works],
    WorkKind.MIGRATE: lambda works, services, _: [take_steps(work, services) for work in works],
    WorkKind.ERASE_USER: lambda works, services, _: [erase_user(work, services) for work in works],
}
