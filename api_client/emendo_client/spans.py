"""The client's spans of what it asks others: a search, and the embedding of its query."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from emendo_config import Settings, traces
from emendo_config.embedding_space import EmbeddingSpace

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer


def searching(settings: Settings, project: str) -> AbstractContextManager[Span | None]:
    """A span around a search; the caller tells it the number of hits with `note_found`."""
    tracer = traces.tracer(settings)
    if tracer is None:
        return nullcontext()
    attributes = {"gen_ai.operation.name": "search_memory", "gen_ai.memory.store.id": project}
    return _calling(tracer, "search_memory", attributes)


def note_found(span: Span | None, hits: int) -> None:
    """Tells a search's span the number of its hits."""
    if span is not None:
        span.set_attribute("gen_ai.memory.record.count", hits)


def embedding(settings: Settings, space: EmbeddingSpace) -> AbstractContextManager[Span | None]:
    """A span around one request for embeddings."""
    tracer = traces.tracer(settings)
    if tracer is None:
        return nullcontext()
    return _calling(tracer, f"embeddings {space.model}", embedding_attributes(space))


def embedding_attributes(space: EmbeddingSpace) -> dict[str, str | int]:
    """The attributes of a request for embeddings."""
    return {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.provider.name": space.provider,
        "gen_ai.request.model": space.model,
        "gen_ai.embeddings.dimension.count": space.dimensions,
    }


@contextmanager
def _calling(tracer: Tracer, name: str, attributes: Mapping[str, Any]) -> Iterator[Span | None]:
    from opentelemetry.trace import SpanKind

    with traces.span(tracer, name, kind=SpanKind.CLIENT, attributes=attributes) as span:
        yield span
