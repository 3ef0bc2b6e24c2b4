"""New payloads in job records: the facts once they are found, the plan before any of it is carried out.

`store_plan.lua` replaces the payload, unless another attempt has taken the job over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from emendo_client.requests.operations import Document
from emendo_config.json_codec import compact_json
from emendo_config.store import scripts, usage_counters
from emendo_workers.jobs.work import PLANNED, Work
from emendo_workers.store import Store


@dataclass(frozen=True, slots=True)
class NewPayload:
    """A payload that replaces the one of a record.

    Attributes:
        head: its other fields.
        documents: the operations; new ones of a plan have no submission time yet.
        spent: counts by the fields of `emendo_config.store.usage_counters`.
        prompts: versions by stage.
        degraded: why nothing was inferred; empty when something was.
    """

    work: Work
    head: Document
    documents: list[Document]
    spent: Mapping[str, int] = field(default_factory=dict)
    prompts: Mapping[str, str] = field(default_factory=dict)
    degraded: str = ""


def store_payloads(store: Store, payloads: Sequence[NewPayload]) -> list[Work | None]:
    """Stores the payloads; the attempts as they are then, None for one that another attempt has taken over.

    Each new operation of a plan becomes a submission. It takes its time now, as it rests on the memories of now.
    """
    new = [_is_new(payload, document) for payload in payloads for document in payload.documents]
    submitted = _next_times(store, sum(new)) if any(new) else 0
    works, commands = [], []
    for payload in payloads:
        documents = []
        counts = dict(payload.spent)
        for document in payload.documents:
            if not _is_new(payload, document):
                documents.append(document)
                continue
            documents.append({**document, "submitted": submitted})
            submitted += 1
            _count(counts, usage_counters.decision(document["decision"]))
            if "fallback" in document:
                _count(counts, usage_counters.fallback(document["fallback"]))
        if payload.degraded:
            _count(counts, usage_counters.DEGRADED_JOBS)
        works.append(payload.work.rewritten(payload.head, documents))
        commands.append(_command(store, payload, documents, counts))
    replies = scripts.run(store.control, commands)
    return [work if stored else None for work, stored in zip(works, replies, strict=True)]


def _next_times(store: Store, count: int) -> int:
    """The first of so many submission times, one microsecond apart."""
    command = scripts.next_times(clock=store.keys.clock, count=count)
    return scripts.next_times.reply(scripts.run(store.control, [command])[0])


def _is_new(payload: NewPayload, document: Document) -> bool:
    return PLANNED in payload.head and "submitted" not in document


def _count(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1


def _command(
    store: Store, payload: NewPayload, documents: list[Document], counts: Mapping[str, int]
) -> scripts.Command:
    keys, work = store.keys, payload.work
    return scripts.store_plan(
        record=keys.job(work.record_id),
        job=keys.job(work.job_id),
        counters=keys.usage,
        token=work.attempt,
        payload=compact_json({**payload.head, "operations": documents}),
        operations=len(documents),
        usage=compact_json(dict(payload.spent)),
        prompts=compact_json(dict(payload.prompts)),
        degraded=payload.degraded,
        counts=compact_json(dict(counts)),
    )
