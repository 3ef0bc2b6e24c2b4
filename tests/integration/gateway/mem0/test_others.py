"""mem0's routes with the key of another project, of another user, and of a reader."""

from __future__ import annotations

import uuid

import pytest

SECRET = "the victim's own words"
ONE = "/v1/memories/{memory_id}/"
# Each route that takes an id or finds memories, with a complete request.
REQUESTS = [
    ("POST", "/v3/memories/add/", {"messages": "x", "user_id": "victim", "infer": False}),
    ("POST", "/v3/memories/", {"filters": {"user_id": "*"}}),
    ("POST", "/v3/memories/search/", {"query": SECRET, "filters": {"user_id": "*"}}),
    ("GET", ONE, None),
    ("PUT", ONE, {"text": "taken over"}),
    ("DELETE", ONE, None),
    ("GET", f"{ONE}history/", None),
    ("DELETE", "/v1/memories/?user_id=*", None),
    ("PUT", "/v1/batch/", {"memories": [{"memory_id": "{memory_id}", "text": "taken over"}]}),
    ("DELETE", "/v1/batch/", {"memories": [{"memory_id": "{memory_id}"}]}),
    ("POST", "/v1/feedback/", {"memory_id": "{memory_id}", "feedback": "NEGATIVE"}),
    ("GET", "/v1/event/{event_id}/", None),
    ("GET", "/v1/events/", None),
    ("GET", "/v1/entities/", None),
    ("DELETE", "/v2/entities/user/victim/", None),
    ("DELETE", "/v1/entities/user/victim/", None),
]
READS = {"/v3/memories/", "/v3/memories/search/"}


@pytest.fixture(scope="module")
def victim(gateway):
    """A project with a memory, and the ids in it."""
    project = f"victim-{uuid.uuid4().hex[:8]}"
    with gateway.tenant(project) as tenant:
        body = {"messages": SECRET, "user_id": "victim", "infer": False}
        told = tenant.post("/v3/memories/add/", json=body).json()
        ids = {"memory_id": told["results"][0]["id"], "event_id": told["event_id"], "project": project}
        before = tenant.get(ONE.format_map(ids)).json()
        yield ids
        assert tenant.get(ONE.format_map(ids)).json() == before, "the victim's memory was changed"


def requested(client, method, path, body, ids):
    def filled(value):
        if isinstance(value, dict):
            return {name: filled(each) for name, each in value.items()}
        if isinstance(value, list):
            return [filled(each) for each in value]
        return value.format_map(ids) if isinstance(value, str) and "_id}" in value else value

    return client.request(method, path.format_map(ids), json=filled(body))


def named(request):
    return f"{request[0]} {request[1]}"


@pytest.mark.parametrize("request_", REQUESTS, ids=named)
def test_another_project_sees_and_changes_nothing(gateway, victim, request_, openai_server):
    with gateway.http() as nobody, gateway.tenant() as stranger:
        assert requested(nobody, *request_, victim).status_code == 401
        answer = requested(stranger, *request_, victim)
    assert SECRET not in answer.text
    assert victim["project"] not in answer.text
    if "_id}" in str(request_) or "victim/" in request_[1]:
        assert answer.status_code == 404, answer.text


@pytest.mark.parametrize("request_", REQUESTS, ids=named)
def test_another_user_of_the_project_sees_and_changes_nothing(gateway, victim, request_, openai_server):
    with gateway.tenant(victim["project"], user_id="mallory") as other:
        answer = requested(other, *request_, victim)
    assert SECRET not in answer.text
    if "_id}" in str(request_) or "victim/" in request_[1] or request_[1] in ("/v1/events/", "/v3/memories/add/"):
        assert answer.status_code in (403, 404), answer.text


@pytest.mark.parametrize("request_", REQUESTS, ids=named)
def test_a_reading_key_changes_nothing(gateway, victim, request_, openai_server):
    with gateway.tenant(victim["project"], scope="read") as reader:
        answer = requested(reader, *request_, victim)
    assert (answer.status_code == 403) is not (request_[0] == "GET" or request_[1] in READS), answer.text
