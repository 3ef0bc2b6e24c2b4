"""FastAPI's own spans of requests, without what callers write into addresses: paths and queries name users."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any

from fastapi.telemetry import TelemetryConfig
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Tracer, TracerProvider, use_span
from opentelemetry.util.types import Attributes

from emendo_config import Settings, traces
from emendo_gateway.admission.kinds import METRICS, OPEN_PATHS

# The attributes that a span begins with. The route's template, the status and the error's class come later.
_KEPT = frozenset({"http.request.method", "network.protocol.version", "server.address", "server.port", "url.scheme"})
# Probes and scrapes come every few seconds, and would hide the rest.
_UNTRACED = OPEN_PATHS | {METRICS}


def telemetry(settings: Settings) -> TelemetryConfig:
    """Makes FastAPI record spans, if this process makes any, and nothing else: its logs have exceptions' texts."""
    provider = traces.provider(settings)
    config: TelemetryConfig = {
        "tracing": provider is not None,
        "metrics": False,
        "logs": False,
        "operation_spans": False,
        "auto_configure": False,
        "exclude": _is_untraced,
    }
    if provider is not None:
        config["tracer_provider"] = _Provider(provider)
    return config


def _is_untraced(scope: MutableMapping[str, Any]) -> bool:
    return scope.get("path") in _UNTRACED


class _Provider(TracerProvider):
    """Another provider, for spans that begin with few attributes."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider

    def get_tracer(self, *arguments: Any, **more: Any) -> Tracer:
        """See `TracerProvider.get_tracer`."""
        return _Tracer(self._provider.get_tracer(*arguments, **more))


class _Tracer(Tracer):
    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def start_span(  # noqa: PLR0917  # the signature of OpenTelemetry
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> Span:
        """See `Tracer.start_span`."""
        kept = {key: value for key, value in (attributes or {}).items() if key in _KEPT}
        return self._tracer.start_span(
            name, context, kind, kept, links, start_time, record_exception, set_status_on_exception
        )

    def start_as_current_span(self, *arguments: Any, end_on_exit: bool = True, **more: Any) -> Any:
        """See `Tracer.start_as_current_span`."""
        return use_span(self.start_span(*arguments, **more), end_on_exit=end_on_exit)
