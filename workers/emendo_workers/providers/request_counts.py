"""The metrics of one request to a provider, and its span."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from emendo_client.errors import EmendoError
from emendo_config import metric_families as metrics
from emendo_config import traces
from emendo_workers.tally import Tally

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

# Kinds of requests, as labels.
EMBEDDING_REQUEST, CHAT_REQUEST = "embedding", "chat"


def note_request(
    tally: Tally,
    kind: str,
    seconds: float,
    tokens: Mapping[str, int] | None = None,
    *,
    error: EmendoError | None = None,
    texts: int = 0,
    described: Mapping[str, str | int] | None = None,
) -> None:
    """Counts a request.

    Args:
        tally: the process's.
        kind: EMBEDDING_REQUEST or CHAT_REQUEST.
        seconds: until the answer, or the error.
        tokens: as the provider counted them, by kind.
        error: of a request that failed.
        texts: that were to be embedded.
        described: attributes of its span, by OpenTelemetry's names.
    """
    counts: dict[str, int] = {}
    metrics.count(counts, metrics.PROVIDER_REQUESTS, kind)
    metrics.observe(counts, metrics.PROVIDER_SECONDS, [(seconds, 1)], kind)
    for name, number in (tokens or {}).items():
        if number:
            metrics.count(counts, metrics.PROVIDER_TOKENS, name, by=number)
    if error is not None:
        metrics.count(counts, metrics.PROVIDER_ERRORS, kind, metrics.known_code(str(error.error_code)))
    if texts:
        metrics.observe(counts, metrics.REQUEST_TEXTS, [(texts, 1)])
    tally.add(counts)
    if tally.tracer is not None:
        _trace(tally.tracer, seconds, dict(described or {}), tokens or {}, error)


def _trace(
    tracer: Tracer,
    seconds: float,
    attributes: dict[str, str | int],
    tokens: Mapping[str, int],
    error: EmendoError | None,
) -> None:
    """Makes the span of a request that is over, below the step that made it."""
    from opentelemetry.trace import SpanKind, get_current_span

    if not get_current_span().is_recording():
        return
    now = time.time_ns()
    for name, number in tokens.items():
        if number:
            attributes[f"gen_ai.usage.{'output' if name == 'completion' else 'input'}_tokens"] = number
    name = f"{attributes.get('gen_ai.operation.name', '')} {attributes.get('gen_ai.request.model', '')}"
    span = tracer.start_span(
        name, kind=SpanKind.CLIENT, attributes=attributes, start_time=now - int(seconds * 1_000_000_000)
    )
    if error is not None:
        traces.fail(span, traces.code_of(error))
    span.end(now)
