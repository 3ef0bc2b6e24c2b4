"""Where spans go: whether a collector listens at the address that OpenTelemetry's variables name."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

from emendo_config import Settings, traces
from emendo_ops.doctor.finding import Finding
from emendo_ops.extras import advice, missing

# Seconds to connect. Spans are no reason to make a person wait.
TIMEOUT = 2.0
_DEFAULT = "http://localhost:4318"
_PORTS = {"http": 80, "https": 443}


def check_traces(settings: Settings) -> Iterator[Finding]:
    """Yields nothing where no spans are wanted. A collector that is away is a warning: jobs do not need it."""
    if not traces.are_wanted(settings):
        return
    if missing(["traces"]):
        found = "spans are wanted, and OpenTelemetry's SDK or exporter is not installed"
        yield Finding("traces", "fail" if settings.traces else "warn", found, advice(["traces"]))
        return
    variable = next((name for name in traces.ENDPOINTS if os.environ.get(name)), traces.ENDPOINTS[1])
    try:
        parts = urlsplit(os.environ.get(variable) or _DEFAULT)
        host, port = parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        host = port = None
    if not host or not port:
        yield Finding("traces", "warn", f"{variable} is no address", f"write it like {_DEFAULT}")
        return
    try:
        socket.create_connection((host, port), TIMEOUT).close()
    except OSError as error:
        found = f"no collector at {host}:{port} ({type(error).__name__}); spans are lost"
        yield Finding("traces", "warn", found, f"start it, correct {variable}, or set EMENDO_TRACES=off")
        return
    yield Finding("traces", "ok", f"a collector listens at {host}:{port}")
