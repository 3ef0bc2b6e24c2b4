"""The kind of a request, by its head alone: it is decided before anything of the body is read."""

from __future__ import annotations

import re
from enum import StrEnum

from emendo_config.gateway_settings import GatewaySettings
from emendo_config.urls import is_loopback
from emendo_gateway.admission.asgi import Scope, client_address, header_values
from emendo_gateway.callers import dialect_of
from emendo_gateway.problems.problem import ERROR_PAGES

# Paths that need no key: they say nothing of any project.
DOCUMENT, MEM0_DOCUMENT = "/openapi.json", "/v1/openapi.json"
OPEN_PATHS = frozenset({"/health", "/health/live", DOCUMENT, MEM0_DOCUMENT})
METRICS = "/metrics"
SCALING = "/api/v1/scaling"
# A POST that reads: searches, counts and mem0's lists, whose filters do not fit into a query.
_READING_POST = re.compile(r"/v3/memories/|.*/(search|count)/?")
# A request that waits by its nature: a stream of events.
_STREAM = re.compile(r".*/events/?")
_WAIT = re.compile(rb"(?:^|[\s,;])wait\s*=", re.IGNORECASE)


class Kind(StrEnum):
    """The kinds of requests; each but `HEALTH` has a lane."""

    HEALTH = "health"
    READ = "reads"
    WRITE = "writes"
    WAIT = "waits"


def kind_of(scope: Scope) -> Kind:
    """The kind of a request."""
    path = scope["path"]
    if path in OPEN_PATHS or path in (METRICS, SCALING) or path.startswith(ERROR_PAGES):
        return Kind.HEALTH
    if dialect_of(path) == "mem0":  # mem0's clients expect that a write is done when it is answered
        return Kind.READ if is_reading(scope) else Kind.WAIT
    if is_stream(path) or any(_WAIT.search(value) for value in header_values(scope, b"prefer")):
        return Kind.WAIT
    return Kind.READ if is_reading(scope) else Kind.WRITE


def is_stream(path: str) -> bool:
    """True for the address of a stream of events, which has no answer without a body."""
    return dialect_of(path) == "native" and _STREAM.fullmatch(path) is not None


def is_reading(scope: Scope) -> bool:
    """True for a request that changes nothing, so that the scope `read` is enough."""
    if scope["method"] in ("GET", "HEAD", "OPTIONS"):
        return True
    return scope["method"] == "POST" and _READING_POST.fullmatch(scope["path"]) is not None


def is_open(scope: Scope, settings: GatewaySettings) -> bool:
    """True for a request that needs no key."""
    path = scope["path"]
    if path == METRICS:
        return settings.metrics == "open" or (settings.metrics == "loopback" and is_loopback(client_address(scope)))
    return path in OPEN_PATHS or path.startswith(ERROR_PAGES)
