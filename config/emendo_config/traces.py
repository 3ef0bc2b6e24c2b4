"""Traces with OpenTelemetry: whether this process makes spans, and the context of a trace in a job's record.

Nothing of OpenTelemetry is imported, and nothing is done for a job, unless traces are wanted. A worker and the gateway
make the process's provider; a program with Emendo's client brings its own, as it does for its other libraries.

Spans hold ids, codes, numbers and names of models. They never hold a text, a key, or the ids of users, agents and runs.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from emendo_config.errors import ConfigurationError, EmendoError
from emendo_config.forks import leave_to_the_parent, notice_fork, reset_in_children
from emendo_config.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider as OwnProvider
    from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Tracer, TracerProvider

logger = logging.getLogger(__name__)

# Fields of a job's record, named as W3C names the headers.
TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
# Characters. A longer `tracestate` is left out, which W3C allows; the trace goes on without it.
MOST_TRACESTATE = 512
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"
_NAME = "emendo"


class _Process:
    """The provider that this process made for itself, if it did."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.provider: OwnProvider | None = None
        reset_in_children(self)

    def reset_after_fork(self) -> None:
        """A child makes its own: the parent's spans wait in the parent's queue, for the parent's thread."""
        leave_to_the_parent(self.provider)
        self.lock, self.provider = threading.Lock(), None


_process = _Process()
# The provider that was asked last, and its tracer.
_latest: tuple[TracerProvider | None, Tracer | None] = (None, None)


def are_wanted(settings: Settings) -> bool:
    """True when a process of Emendo's own is to export spans."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if settings.traces is not None:
        return settings.traces == "otlp"
    is_closed = os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none"
    return not is_closed and any(os.environ.get(name) for name in ENDPOINTS)


def begin(settings: Settings, service: str) -> None:
    """Makes the provider of a process of Emendo's own, once, if spans are wanted and the program has no provider.

    Args:
        service: the `service.name`, unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES gives one.

    Raises:
        ConfigurationError: EMENDO_TRACES asks for spans, and they cannot be exported.
    """
    notice_fork()
    if not are_wanted(settings) or _of_the_program() is not None:
        return
    with _process.lock:
        if _process.provider is not None:
            return
        try:
            _process.provider = _make_provider(service)
        except ConfigurationError as error:
            if settings.traces is not None:
                raise
            # OTEL_… variables are often set for all programs of a machine, so they are no reason to refuse to start.
            logger.warning("no traces: %s", error.message, extra={"suggestion": error.suggestion})


def flush() -> None:
    """Exports what waits: called at the end of a forked process, which runs no exit handlers."""
    if _process.provider is not None:
        _process.provider.force_flush()


def provider(settings: Settings) -> TracerProvider | None:
    """This process's provider: its own, or the one that the program has set; None while no spans are made."""
    if settings.traces == "off":
        return None
    return _process.provider or _of_the_program()


def tracer(settings: Settings) -> Tracer | None:
    """The maker of this process's spans; None while it makes none."""
    global _latest  # noqa: PLW0603  # kept, because making a tracer takes longer than making a span
    found = provider(settings)
    if found is None:
        return None
    known, made = _latest
    if known is not found or made is None:
        made = found.get_tracer(_NAME)
        _latest = found, made
    return made


@contextmanager
def span(
    tracer: Tracer,
    name: str,
    *,
    kind: SpanKind | None = None,
    attributes: Mapping[str, Any] | None = None,
    context: Context | None = None,
    links: Sequence[Link] = (),
) -> Iterator[Span]:
    """A span around the block. An error becomes its status by code, since its words may be anybody's."""
    from opentelemetry.trace import SpanKind

    with tracer.start_as_current_span(
        name,
        context,
        kind or SpanKind.INTERNAL,
        attributes=dict(attributes or {}),
        links=links,
        record_exception=False,
        set_status_on_exception=False,
    ) as made:
        try:
            yield made
        except BaseException as error:
            fail(made, code_of(error))
            raise


def fail(span: Span, code: str) -> None:
    """Gives the span the status of an error with this code."""
    from opentelemetry.trace import StatusCode

    span.set_attribute("error.type", code)
    span.set_status(StatusCode.ERROR, code)


def code_of(error: BaseException) -> str:
    """The code of our own error, and the class of any other."""
    return str(error.error_code) if isinstance(error, EmendoError) else type(error).__name__


def carried(span: Span) -> dict[str, str]:
    """The fields that a record gets, so that its job belongs to the span's trace."""
    from opentelemetry.trace import set_span_in_context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    fields: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(fields, set_span_in_context(span))
    if len(fields.get(TRACESTATE, "")) > MOST_TRACESTATE:
        del fields[TRACESTATE]
    return fields


def context_of(traceparent: str, tracestate: str = "") -> SpanContext | None:
    """The context that a record's fields tell; None for none, and for what is no context by W3C's rules."""
    if not traceparent:
        return None
    from opentelemetry.trace import get_current_span
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = {TRACEPARENT: traceparent, TRACESTATE: tracestate[:MOST_TRACESTATE]}
    found = get_current_span(TraceContextTextMapPropagator().extract(carrier, _no_context())).get_span_context()
    return found if found.is_valid else None


def below(context: SpanContext | None) -> Context:
    """The place of a span below another process's; the beginning of a new trace without one."""
    from opentelemetry.trace import NonRecordingSpan, set_span_in_context

    return _no_context() if context is None else set_span_in_context(NonRecordingSpan(context), _no_context())


def _no_context() -> Context:
    from opentelemetry.context import Context

    return Context()


def _of_the_program() -> TracerProvider | None:
    """The provider that the program has set for all its libraries; None where there is none."""
    api = sys.modules.get("opentelemetry.trace")
    if api is None:  # nobody can have set one
        return None
    found: TracerProvider = api.get_tracer_provider()
    kind = type(found)  # each call of a client comes here: compared, not looked up
    return None if kind is api.ProxyTracerProvider or kind is api.NoOpTracerProvider else found


def _make_provider(service: str) -> OwnProvider:
    protocol = next((value for name in _PROTOCOLS if (value := os.environ.get(name, "").strip())), _PROTOCOL)
    if protocol != _PROTOCOL:
        raise ConfigurationError(
            f"spans are exported with {_PROTOCOL}, and OTEL_EXPORTER_OTLP_PROTOCOL asks for another protocol",
            suggestion=f"set {_PROTOCOLS[0]}={_PROTOCOL}; collectors take it at port 4318",
        )
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise ConfigurationError(
            "OpenTelemetry's SDK and exporter are not installed",
            suggestion="pip install 'emendo[traces]', or set EMENDO_TRACES=off",
        ) from None
    own = {"service.instance.id": str(uuid.uuid4())}
    if not (os.environ.get("OTEL_SERVICE_NAME") or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")):
        own["service.name"] = service
    made = TracerProvider(resource=Resource.create(own))
    made.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return made
