"""The span around the acceptance of a job, whose context the job's record carries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from emendo_client.requests.batches import BatchRequest
from emendo_client.requests.jobs import JobRequest
from emendo_config import Settings, traces

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

R = TypeVar("R", JobRequest, BatchRequest)


def accepting(settings: Settings, request: R) -> AbstractContextManager[R]:
    """A span around the acceptance of a job; gives the request whose record carries the span's context."""
    tracer = traces.tracer(settings)
    return nullcontext(request) if tracer is None else _accepting(tracer, request)


@contextmanager
def _accepting(tracer: Tracer, request: R) -> Iterator[R]:
    from opentelemetry.trace import SpanKind

    attributes: dict[str, Any] = {
        "messaging.system": "emendo",
        "messaging.operation.name": "accept",
        "messaging.operation.type": "send",
        "messaging.destination.name": request.queue,
        "messaging.message.id": request.job_id,
        "gen_ai.memory.store.id": request.project,
    }
    if isinstance(request, JobRequest):
        attributes["messaging.batch.message_count"] = request.items
    with traces.span(tracer, f"accept {request.kind}", kind=SpanKind.PRODUCER, attributes=attributes) as span:
        yield replace(request, trace=traces.carried(span))
