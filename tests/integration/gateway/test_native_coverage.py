"""All that the Python client can has a route, or a reason for having none."""

from __future__ import annotations

import inspect

import pytest

from emendo_client import AsyncMemoryClient
from emendo_config import GatewaySettings, Settings
from emendo_gateway.app import create_app

MEMORY, JOB, DEAD = "/api/v1/memories/{memory_id}", "/api/v1/jobs/{job_id}", "/api/v1/dead-letters"
ROUTES = {
    "add": "POST /api/v1/memories",
    "agents": "GET /api/v1/agents",
    "batch": "POST /api/v1/batches",
    "batch_add": "POST /api/v1/batches",
    "batch_delete": "POST /api/v1/batches",
    "batch_update": "POST /api/v1/batches",
    "conflict": "GET /api/v1/conflicts/{conflict_id}",
    "conflicts": "GET /api/v1/conflicts",
    "count": "POST /api/v1/memories/count",
    "dead_letter": f"GET {DEAD}/{{job_id}}",
    "dead_letters": f"GET {DEAD}",
    "delete": f"DELETE {MEMORY}",
    "delete_all": "POST /api/v1/memories/delete",
    "diagnose": f"GET {MEMORY}/diagnosis",
    "discard": f"DELETE {DEAD}/{{job_id}}",
    "discard_all": f"POST {DEAD}/discard",
    "erase_user": "POST /api/v1/erasures",
    "finalize_reembed": "POST /api/v1/reembedding/finalize",
    "get": f"GET {MEMORY}",
    "get_all": "GET /api/v1/memories",
    "health": "GET /health",
    "history": f"GET {MEMORY}/history",
    "job": f"GET {JOB}",
    "jobs": "GET /api/v1/jobs",
    "migration": "GET /api/v1/reembedding",
    "pause_reembed": "POST /api/v1/reembedding/pause",
    "project_rules": "GET /api/v1/project/rules",
    "purge": "POST /api/v1/purges",
    "reembed": "POST /api/v1/reembedding",
    "replay": f"POST {DEAD}/{{job_id}}/replay",
    "replay_all": f"POST {DEAD}/replay",
    "resolve_conflict": "POST /api/v1/conflicts/{conflict_id}/resolve",
    "restore": f"POST {MEMORY}/restore",
    "resume_reembed": "POST /api/v1/reembedding/resume",
    "rollback_reembed": "POST /api/v1/reembedding/rollback",
    "runs": "GET /api/v1/runs",
    "search": "POST /api/v1/memories/search",
    "set_project_rules": "PATCH /api/v1/project/rules",
    "update": f"PATCH {MEMORY}",
    "users": "GET /api/v1/users",
}
REASONS = {
    "close": "a client's own connections",
    "iter_all": "a loop over the pages of get_all, which Link and next_cursor give",
}
# Parameters that a request gives in another way, or not at all.
ELSEWHERE = {
    "idempotency_key": "the field Idempotency-Key",
    "expected_version": "the field If-Match",
    "on_progress": "a callback",
    "dry_run": "POST /api/v1/reembedding/plan",
    "page": "cursors",
    "page_size": "limit",
    "job_id": "the path",
    "memory_id": "the path",
    "conflict_id": "the path",
    "items": "the body",
    "infer": "the body",
    "hard": "each item",
    "on_conflict": "each item",
}


def public(kind: type) -> dict[str, object]:
    return {name: value for name, value in inspect.getmembers(kind, callable) if not name.startswith("_")}


@pytest.fixture(scope="module")
def document():
    return create_app(Settings(), GatewaySettings()).openapi()


def test_each_call_of_the_client_has_a_route_or_a_reason(document):
    known = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert public(AsyncMemoryClient).keys() == ROUTES.keys() | REASONS.keys()
    assert set(ROUTES.values()) <= known


def _named(document, operation) -> set[str]:
    names = {each["name"] for each in operation.get("parameters", ())}
    schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
    return names | schema.get("properties", {}).keys()


@pytest.mark.parametrize("call", sorted(ROUTES))
def test_a_route_takes_each_parameter_of_its_call(document, call):
    method, path = ROUTES[call].split()
    named = _named(document, document["paths"][path][method.lower()])
    wanted = set(inspect.signature(getattr(AsyncMemoryClient, call)).parameters) - {"self"}
    lacking = wanted - named - ELSEWHERE.keys()
    # A list is in a query, where filters do not fit: searches and counts take them.
    assert lacking <= ({"filters"} if call == "get_all" else set())
    if "expected_version" in wanted:
        assert "if-match" in {name.lower() for name in named}
    if "idempotency_key" in wanted:
        assert "idempotency-key" in {name.lower() for name in named}


def test_each_route_that_takes_a_body_shows_an_example(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
            if schema and path.startswith("/api/"):
                found = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
                assert found.get("examples"), f"{method} {path}"
