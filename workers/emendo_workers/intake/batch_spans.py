"""The spans of a drain's batch: one of the batch, with links to its jobs, and one of each job in the job's trace.

A batch holds jobs of many traces, and a request to the provider or a commit is for all of them. So the batch has these
steps below it, once. It stands in the trace of its first sampled job, so the trace of a job that is alone is whole.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from emendo_client.models import JobStatus
from emendo_config import traces
from emendo_workers.jobs.operations import (
    Add,
    Delete,
    EraseUser,
    Expire,
    Infer,
    Operation,
    Resolve,
    Restore,
    Update,
)
from emendo_workers.jobs.outcomes import Outcome, error_code
from emendo_workers.jobs.work import Work

if TYPE_CHECKING:
    from opentelemetry.trace import Span, SpanContext, Tracer

# Jobs of a batch that get a span and a link: as many links as OpenTelemetry keeps by default. Spans of all jobs of a
# full batch would slow the hot path down.
MOST_JOBS = 128
# OpenTelemetry's names. Others are no operation on memories.
_OPERATIONS: dict[type[Operation], str] = {
    Add: "create_memory",
    Update: "update_memory",
    Restore: "update_memory",
    Resolve: "update_memory",
    Delete: "delete_memory",
    Expire: "delete_memory",
    EraseUser: "delete_memory",
    Infer: "upsert_memory",
}
_MIXED = "upsert_memory"


class BatchSpans:
    """The spans of one batch, until its outcomes are recorded."""

    def __init__(self, tracer: Tracer | None) -> None:
        self._tracer = tracer
        self._began = time.time_ns()
        self._sampled: dict[str, SpanContext] = {}
        self._batch: Span | None = None

    @contextmanager
    def around(self, queue: str, works: Sequence[Work], *, left: bool) -> Iterator[None]:
        """The span of the batch; does nothing in a process that makes no spans."""
        tracer = self._tracer
        if tracer is None:
            yield
            return
        from opentelemetry.trace import Link, SpanKind

        contexts = {
            work.record_id: context for work in works if (context := traces.context_of(*work.trace)) is not None
        }
        sampled = [(record_id, context) for record_id, context in contexts.items() if context.trace_flags.sampled]
        self._sampled = dict(sampled[:MOST_JOBS])
        parents = [*self._sampled.values(), *contexts.values()]
        attributes: dict[str, Any] = {
            "messaging.system": "emendo",
            "messaging.operation.name": "drain",
            "messaging.operation.type": "process",
            "messaging.destination.name": queue,
            "messaging.batch.message_count": len(works),
            "emendo.jobs.sampled": len(sampled),
            "emendo.redelivered": left,
        }
        with traces.span(
            tracer,
            f"drain {queue}",
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            context=traces.below(parents[0] if parents else None),
            links=[Link(context) for context in self._sampled.values()],
        ) as self._batch:
            yield

    def end(self, outcomes: Sequence[Outcome]) -> None:
        """Makes the spans of the batch's jobs: each below the acceptance of its job, with a link to the batch."""
        tracer, batch = self._tracer, self._batch
        if tracer is None or batch is None or not self._sampled:
            return
        from opentelemetry.trace import Link, SpanKind

        now, link = time.time_ns(), Link(batch.get_span_context())
        for outcome in outcomes:
            context = self._sampled.get(outcome.work.record_id)
            if context is None:
                continue
            operation = memory_operation(outcome.work)
            span = tracer.start_span(
                operation or f"process {outcome.work.kind}",
                traces.below(context),
                SpanKind.CONSUMER,
                {**_attributes(outcome), **({"gen_ai.operation.name": operation} if operation else {})},
                [link],
                self._began,
            )
            code = _code(outcome)
            if code:
                traces.fail(span, code)
            span.end(now)


def memory_operation(work: Work) -> str:
    """OpenTelemetry's name of what a job does to memories; empty for what is no operation on them."""
    if work.is_inferred:
        return _OPERATIONS[Infer]
    names = {_OPERATIONS.get(type(operation), "") for operation in work.operations}
    return names.pop() if len(names) == 1 else _MIXED if names and "" not in names else ""


def _attributes(outcome: Outcome) -> dict[str, str | int | bool]:
    work = outcome.work
    attributes: dict[str, str | int | bool] = {
        "gen_ai.memory.store.id": work.project,
        "gen_ai.memory.record.count": len(work.operations),
        "messaging.message.id": work.record_id,
        "emendo.job.attempt": work.attempts,
        "emendo.job.status": outcome.status.value,
    }
    if len(work.operations) == 1 and work.operations[0].memory_id:
        attributes["gen_ai.memory.record.id"] = work.operations[0].memory_id
    return attributes


def _code(outcome: Outcome) -> str:
    """The code of the attempt's error; empty for none."""
    if outcome.error is not None:
        return traces.code_of(outcome.error)
    if outcome.status is JobStatus.SUCCEEDED:
        return ""
    return next((code for item in outcome.results if (code := error_code(item))), "")
