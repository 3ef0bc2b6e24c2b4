"""The tenant matrix: every route of the application, with no key, and with the key of another project.

A new route is in it by itself. If it takes an id of a new kind, say in `VICTIMS` what stands for it.
"""

from __future__ import annotations

import uuid
from typing import Any, NamedTuple

import pytest

from emendo_config import GatewaySettings, Settings
from emendo_gateway.admission.kinds import METRICS, OPEN_PATHS
from emendo_gateway.app import create_app

SECRET = "the victim's own words"


class Route(NamedTuple):
    method: str
    path: str


def routes() -> list[Route]:
    """Every route that the application documents."""
    paths = create_app(Settings(), GatewaySettings()).openapi()["paths"]
    found = [Route(method.upper(), path) for path, methods in paths.items() for method in methods]
    return sorted(route for route in found if route.path not in OPEN_PATHS)


ROUTES = routes()
# Complete requests of these routes; others are tried with an empty object.
BODIES: dict[Route, Any] = {
    Route("POST", "/api/v1/memories"): {"messages": "x", "user_id": "victim", "infer": False},
    Route("POST", "/api/v1/memories/search"): {"query": SECRET, "all_users": True},
    Route("POST", "/api/v1/memories/count"): {"all_users": True},
    Route("PATCH", "/api/v1/memories/{memory_id}"): {"text": "taken over"},
    Route("PUT", "/api/v1/memories/{memory_id}"): {"text": "taken over"},
    Route("POST", "/api/v1/memories/delete"): {"user_id": "victim", "hard": True},
    Route("POST", "/api/v1/batches"): {
        "items": [{"op": "add", "messages": "x", "user_id": "victim"}],
        "infer": False,
    },
    Route("POST", "/api/v1/conflicts/{conflict_id}/resolve"): {"choice": "ours"},
    Route("POST", "/api/v1/erasures"): {"user_id": "victim"},
    Route("POST", "/api/v1/purges"): {"deleted_before": "2000-01-01T00:00:00Z"},
    Route("PATCH", "/api/v1/project/rules"): {"instructions": "taken over"},
}
QUERIES: dict[Route, dict[str, str]] = {
    Route("GET", "/api/v1/memories"): {"all_users": "true", "include_deleted": "true"},
    Route("DELETE", "/api/v1/memories/{memory_id}"): {"hard": "true"},
}


@pytest.fixture(scope="module")
def victim(gateway):
    """A project with a memory, and the ids in it by the names that paths have for them."""
    with gateway.tenant(f"victim-{uuid.uuid4().hex[:8]}") as tenant:
        body = {"messages": SECRET, "user_id": "victim", "infer": False}
        job = tenant.post("/api/v1/memories", json=body, headers={"Prefer": "wait=60"}).json()
        memory_id = job["results"][0]["memory_id"]
        tenant.patch(f"/api/v1/memories/{memory_id}", json={"metadata": {"a": 1}}, headers={"Prefer": "wait=60"})
        (conflict_id,) = conflicts_of(tenant, memory_id)
        before = tenant.get(f"/api/v1/memories/{memory_id}")
        ids = {"memory_id": memory_id, "job_id": job["job_id"], "conflict_id": conflict_id}
        yield ids
        assert tenant.get(f"/api/v1/memories/{memory_id}").json() == before.json(), "the victim's memory was changed"
        assert [each["id"] for each in tenant.get("/api/v1/conflicts").json()["results"]] == [conflict_id]


def conflicts_of(tenant, memory_id: str) -> list[str]:
    """Makes one conflict on a memory of version 2, and lists its id."""
    stale = {"op": "update", "memory_id": memory_id, "metadata": {"a": 2}, "expected_version": 1}
    body = {"items": [{**stale, "on_conflict": "manual"}]}
    answer = tenant.post("/api/v1/batches", json=body, headers={"Prefer": "wait=60"})
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in tenant.get("/api/v1/conflicts").json()["results"]]


def requested(client, route: Route, ids: dict[str, str]):
    path = route.path.format_map(ids)  # KeyError: a path has an id that `victim` does not give
    body = BODIES.get(route, {}) if route.method in ("POST", "PUT", "PATCH") else None
    return client.request(route.method, path, json=body, params=QUERIES.get(route))


def test_the_matrix_has_routes():
    assert Route("GET", "/api/v1/memories/{memory_id}") in ROUTES
    assert METRICS not in {route.path for route in ROUTES}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_a_route_is_closed_without_a_key(gateway, victim, route):
    with gateway.http() as nobody:
        answer = requested(nobody, route, victim)
    assert (answer.status_code, SECRET in answer.text) == (401, False)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_a_route_shows_nothing_of_another_project(gateway, victim, route, openai_server):
    with gateway.tenant() as stranger:
        answer = requested(stranger, route, victim)
    assert SECRET not in answer.text
    if "{" in route.path:
        assert answer.status_code in (403, 404), answer.text
        # Nothing tells whether the id is another project's or nobody's.
        absent = {name: f"{uuid.uuid4()}:x" if name == "conflict_id" else str(uuid.uuid4()) for name in victim}
        with gateway.tenant() as stranger:
            nobodys = requested(stranger, route, absent)
        assert (nobodys.status_code, nobodys.json()["code"]) == (answer.status_code, answer.json()["code"])
    elif answer.status_code == 200:
        assert victim["memory_id"] not in answer.text
        assert victim["job_id"] not in answer.text


def test_ids_outside_of_paths_reach_nothing_of_another_project(gateway, victim):
    """Ids in bodies, filters, cursors and event ids, and a key of idempotency that both use."""
    add = {"messages": "ours", "user_id": "victim", "infer": False}
    fields = {"Prefer": "wait=60", "Idempotency-Key": "shared"}
    with gateway.tenant() as one, gateway.tenant() as stranger:
        jobs = [each.post("/api/v1/memories", json=add, headers=fields).json()["job_id"] for each in (one, stranger)]
        assert jobs[0] != jobs[1]
        assert one.post("/api/v1/memories", json=add, headers=fields).json()["job_id"] == jobs[0]
        one.post("/api/v1/memories", json=add, headers={"Prefer": "wait=60"})
        listing = {"user_id": "victim", "limit": 1}
        cursor = one.get("/api/v1/memories", params=listing).json()["next_cursor"]
        assert stranger.get("/api/v1/memories", params={**listing, "cursor": cursor}).status_code == 400
        events = f"/api/v1/jobs/{victim['job_id']}/events"
        assert stranger.get(events, headers={"Last-Event-ID": "succeeded.1"}).status_code == 404
        memory = {"memory_id": victim["memory_id"]}
        for item in ({"op": "update", "text": "taken over"}, {"op": "delete"}):
            answer = stranger.post(
                "/api/v1/batches", json={"items": [{**item, **memory}]}, headers={"Prefer": "wait=60"}
            )
            assert (answer.status_code, answer.json()["code"]) == (404, "MEMORY_NOT_FOUND")
        for filters in ({"project": "victim"}, {"id": victim["memory_id"]}, memory):
            body = {"query": SECRET, "all_users": True, "filters": filters}
            answer = stranger.post("/api/v1/memories/search", json=body)
            assert (answer.status_code, SECRET in answer.text) == (400, False)


# Methods that need the scope `admin`, by the beginning of the path.
ADMINISTERED = {
    "/api/v1/dead-letters": ("GET", "POST", "DELETE"),
    "/api/v1/reembedding": ("GET", "POST"),
    "/api/v1/erasures": ("POST",),
    "/api/v1/purges": ("POST",),
    "/api/v1/project/rules": ("PATCH",),
}


def is_administered(route: Route) -> bool:
    return any(route.path.startswith(path) and route.method in methods for path, methods in ADMINISTERED.items())


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_a_reading_key_changes_nothing(gateway, victim, route, openai_server):
    reads = route.method == "GET" or route.path.endswith(("/search", "/query", "/count", "/list"))
    with gateway.tenant(scope="read") as reader:
        answer = requested(reader, route, victim)
    assert (answer.status_code == 403) is not (reads and not is_administered(route)), answer.text


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_a_writing_key_administers_nothing(gateway, victim, route, openai_server):
    with gateway.tenant(scope="write") as writer:
        answer = requested(writer, route, victim)
    assert (answer.status_code == 403) is is_administered(route), answer.text
