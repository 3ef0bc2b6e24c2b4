"""What inference has made of a job stands in the job's record before any of it is carried out (see `plan.lua`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from emendo_client.operations import Document
from emendo_config import usage
from emendo_config.compact import compact_json
from emendo_workers import scripts
from emendo_workers.operations import Work
from emendo_workers.services import Services

# What the payload's head says of operations that are a plan, and of one that is not to be carried out.
PLANNED, DRY_RUN = "planned", "dry_run"


@dataclass(frozen=True, slots=True)
class Draft:
    """A payload that is to replace the one of a record.

    Attributes:
        head: what it says besides the operations.
        documents: the operations; planned ones that are new have no submission time yet.
        spent: counts by the fields of `emendo_config.usage`.
        prompts: versions by stage.
        degraded: why nothing was inferred; empty when something was.
    """

    work: Work
    head: Document
    documents: list[Document]
    spent: Mapping[str, int] = field(default_factory=dict)
    prompts: Mapping[str, str] = field(default_factory=dict)
    degraded: str = ""


def store(services: Services, drafts: Sequence[Draft]) -> list[Work | None]:
    """Stores the drafts; the works as they are then, None for one that another attempt has taken over.

    A planned operation becomes a submission of its own: it takes its time now, since it is based on what is known now.
    """
    new = [_is_new(draft, document) for draft in drafts for document in draft.documents]
    stamp = int(scripts.run(services.control, [scripts.stamp(services.keys.clock, sum(new))])[0]) if any(new) else 0
    works, commands = [], []
    for draft in drafts:
        documents = []
        counts = dict(draft.spent)
        for document in draft.documents:
            if not _is_new(draft, document):
                documents.append(document)
                continue
            documents.append({**document, "submitted": stamp})
            stamp += 1
            _count(counts, usage.decision(document["decision"]))
            if "fallback" in document:
                _count(counts, usage.fallback(document["fallback"]))
        if draft.degraded:
            _count(counts, usage.DEGRADED_JOBS)
        works.append(draft.work.rewritten(draft.head, documents))
        commands.append(_command(services, draft, documents, counts))
    replies = scripts.run(services.control, commands)
    return [work if stored else None for work, stored in zip(works, replies, strict=True)]


def _is_new(draft: Draft, document: Document) -> bool:
    return PLANNED in draft.head and "submitted" not in document


def _count(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1


def _command(services: Services, draft: Draft, documents: list[Document], counts: Mapping[str, int]) -> scripts.Command:
    keys, work = services.keys, draft.work
    return scripts.plan(
        keys.job(work.record_id),
        keys.job(work.job_id),
        keys.usage,
        attempt=work.attempt,
        payload=compact_json({**draft.head, "operations": documents}),
        operations=len(documents),
        usage=compact_json(dict(draft.spent)),
        prompts=compact_json(dict(draft.prompts)),
        degraded=draft.degraded,
        counts=compact_json(dict(counts)),
    )
