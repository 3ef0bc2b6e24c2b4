"""The lane of a request, the scope that it needs and whether it needs a key: by its method, path and head alone."""

from __future__ import annotations

import pytest

from emendo_config import GatewaySettings
from emendo_gateway.admission.kinds import Kind, is_open, is_reading, kind_of
from emendo_gateway.callers import dialect_of

MEMORIES = "/api/v1/memories"


def request(method: str, path: str, prefer: str = "", client: str = "10.0.0.9"):
    headers = [(b"prefer", prefer.encode())] if prefer else []
    return {"type": "http", "method": method, "path": path, "headers": headers, "client": (client, 1)}


@pytest.mark.parametrize(
    ("method", "path", "kind", "reads"),
    [
        ("GET", "/health", Kind.HEALTH, True),
        ("GET", "/health/live", Kind.HEALTH, True),
        ("GET", "/openapi.json", Kind.HEALTH, True),
        ("GET", "/v1/openapi.json", Kind.HEALTH, True),
        ("GET", "/metrics", Kind.HEALTH, True),
        ("GET", "/api/v1/scaling", Kind.HEALTH, True),
        ("GET", "/errors/NETWORK", Kind.HEALTH, True),
        ("GET", "/health/", Kind.READ, True),
        ("GET", "/errors", Kind.READ, True),
        ("GET", MEMORIES, Kind.READ, True),
        ("HEAD", MEMORIES, Kind.READ, True),
        ("OPTIONS", MEMORIES, Kind.READ, True),
        ("POST", MEMORIES, Kind.WRITE, False),
        ("PUT", f"{MEMORIES}/a", Kind.WRITE, False),
        ("PATCH", f"{MEMORIES}/a", Kind.WRITE, False),
        ("DELETE", f"{MEMORIES}/a", Kind.WRITE, False),
        ("POST", f"{MEMORIES}/search", Kind.READ, True),
        ("POST", f"{MEMORIES}/count", Kind.READ, True),
        ("POST", f"{MEMORIES}/search/x", Kind.WRITE, False),
        ("POST", f"{MEMORIES}/research", Kind.WRITE, False),
        ("DELETE", f"{MEMORIES}/search", Kind.WRITE, False),
        ("GET", "/api/v1/jobs/a/events", Kind.WAIT, True),
        ("GET", "/api/v1/jobs/a/events/", Kind.WAIT, True),
        ("GET", "/api/v1/jobs/a/events/x", Kind.READ, True),
        ("GET", "/api/v1/jobs/a/recent-events", Kind.READ, True),
        ("POST", "/v3/memories/", Kind.READ, True),
        ("POST", "/v3/memories/search/", Kind.READ, True),
        ("POST", "/v3/memories/add/", Kind.WAIT, False),
        ("DELETE", "/v1/memories/a/", Kind.WAIT, False),
        ("GET", "/v1/memories/", Kind.READ, True),
        ("GET", "/v1/event/events/", Kind.READ, True),  # a list of them
    ],
)
def test_a_request_has_a_lane_and_needs_a_scope(method, path, kind, reads):
    scope = request(method, path)
    assert (kind_of(scope), is_reading(scope)) == (kind, reads)


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/v1/ping/", "mem0"),
        ("/v2/profiles/a/", "mem0"),
        ("/v3/memories/", "mem0"),
        ("/v4/memories/", "native"),
        ("/api/v1/webhooks/a/", "mem0"),
        ("/api/v1/orgs/a/", "mem0"),
        ("/api/v1/memories/", "native"),
        ("/health", "native"),
        ("/x/v1/", "native"),
    ],
)
def test_errors_are_told_in_the_words_of_the_paths_clients(path, dialect):
    assert dialect_of(path) == dialect


@pytest.mark.parametrize(
    ("prefer", "kind"),
    [
        ("wait=1", Kind.WAIT),
        ("respond-async, Wait=0", Kind.WAIT),
        ("respond-async", Kind.WRITE),
        ("await=1", Kind.WRITE),
        ("waits=1", Kind.WRITE),
        ("wait", Kind.WRITE),
    ],
)
def test_who_prefers_to_wait_has_the_lane_of_waits(prefer, kind):
    assert kind_of(request("POST", MEMORIES, prefer)) is kind


@pytest.mark.parametrize(
    ("path", "open_for"),
    [
        ("/health", {"open", "loopback", "key"}),
        ("/health/live", {"open", "loopback", "key"}),
        ("/openapi.json", {"open", "loopback", "key"}),
        ("/v1/openapi.json", {"open", "loopback", "key"}),
        ("/errors/NETWORK", {"open", "loopback", "key"}),
        ("/metrics", {"open"}),
        ("/metrics/", set()),
        ("/api/v1/scaling", set()),
        ("/errors", set()),
        (MEMORIES, set()),
        ("/v1/ping/", set()),
    ],
)
def test_few_paths_need_no_key(path, open_for):
    for client in ("10.0.0.9", "127.0.0.1"):
        scope = request("GET", path, client=client)
        kept = {who for who in ("open", "loopback", "key") if is_open(scope, GatewaySettings(metrics=who))}
        assert kept == open_for | ({"loopback"} if path == "/metrics" and client == "127.0.0.1" else set())
