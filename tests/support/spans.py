"""Spans for tests: those that this process made, and those that other processes exported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from emendo_client.testing.ports import LOOPBACK
from emendo_config import traces
from tests.support.patience import until
from tests.support.serving import Serving


@dataclass(frozen=True, slots=True)
class Seen:
    """One span, whichever process made it.

    Attributes:
        kind: as OTLP names it: INTERNAL, SERVER, CLIENT, PRODUCER or CONSUMER.
        parent: the id of the span above it; empty for none.
        links: the ids of spans.
        error: the status's description; None unless the status is an error.
        process: `service.name` and `service.instance.id`.
    """

    name: str
    kind: str
    trace: str
    id: str
    parent: str
    attributes: Mapping[str, Any]
    links: tuple[str, ...]
    error: str | None
    process: tuple[str, str] = ("", "")


@dataclass(slots=True)
class Spans:
    """Spans to look through."""

    all: list[Seen] = field(default_factory=list)

    def named(self, name: str) -> list[Seen]:
        return [span for span in self.all if span.name == name]

    def one(self, name: str) -> Seen:
        found = self.named(name)
        assert len(found) == 1, (name, [span.name for span in self.all])
        return found[0]

    def below(self, span: Seen) -> list[Seen]:
        return [each for each in self.all if each.parent == span.id]

    def texts(self) -> str:
        """Everything that a span says, to look for what none may say."""
        return "\n".join(f"{span.name} {dict(span.attributes)} {span.error}" for span in self.all)


class Recorded:
    """The spans of this process."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def take(self) -> Spans:
        """The spans that have ended since the last call."""
        found = [
            Seen(
                name=span.name,
                kind=span.kind.name,
                trace=f"{span.context.trace_id:032x}",
                id=f"{span.context.span_id:016x}",
                parent=f"{span.parent.span_id:016x}" if span.parent else "",
                attributes=dict(span.attributes),
                links=tuple(f"{link.context.span_id:016x}" for link in span.links),
                error=span.status.description if not span.status.is_ok else None,
            )
            for span in self._exporter.get_finished_spans()
        ]
        self._exporter.clear()
        return Spans(found)


@contextmanager
def recording() -> Iterator[Recorded]:
    """This process makes spans until the block ends, and keeps them."""
    recorded, before = Recorded(), traces._process.provider
    traces._process.provider = recorded.provider
    try:
        yield recorded
    finally:
        traces._process.provider = before
        recorded.provider.shutdown()


class Collector(Serving):
    """A collector of OTLP over HTTP, to which other processes export; a context manager.

    Args:
        host: the address to listen at.
        name: under which the processes reach it.
    """

    def __init__(self, host: str = LOOPBACK, name: str = LOOPBACK) -> None:
        self._name = name
        self._spans: list[Seen] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector._spans += _parsed(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self._http = ThreadingHTTPServer((host, 0), Handler)
        super().__init__(self._http)

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a process that exports here."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{self._name}:{self._http.server_port}",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }

    @property
    def spans(self) -> Spans:
        """Those that have come."""
        return Spans(list(self._spans))

    def wait(self, name: str, number: int = 1) -> list[Seen]:
        """Waits for that many spans of a name."""
        until(lambda: len(self.spans.named(name)) >= number, lambda: f"{name}: {[s.name for s in self.spans.all]}")
        return self.spans.named(name)


def _parsed(request: ExportTraceServiceRequest) -> Iterator[Seen]:
    for resource in request.resource_spans:
        of_process = {each.key: each.value.string_value for each in resource.resource.attributes}
        process = of_process.get("service.name", ""), of_process.get("service.instance.id", "")
        for span in (span for scope in resource.scope_spans for span in scope.spans):
            yield Seen(
                name=span.name,
                kind=span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                trace=span.trace_id.hex(),
                id=span.span_id.hex(),
                parent=span.parent_span_id.hex(),
                attributes={each.key: _value(each.value) for each in span.attributes},
                links=tuple(link.span_id.hex() for link in span.links),
                error=span.status.message if span.status.code == span.status.STATUS_CODE_ERROR else None,
                process=process,
            )


def _value(value: Any) -> Any:
    return getattr(value, value.WhichOneof("value"))
