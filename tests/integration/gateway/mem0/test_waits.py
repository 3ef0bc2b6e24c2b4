"""Writes that take longer than a request may wait: the answer says so, and its event tells what became of them."""

from __future__ import annotations

import pytest

from emendo_client import MemoryClient
from tests.support.intake import added, drain


@pytest.fixture
def memory_id(services, emendo_settings) -> str:
    """A memory in a store that no worker serves."""
    with MemoryClient(emendo_settings, project="acme") as client:
        return added(services, client)


def test_an_update_that_is_not_applied_in_time_names_its_event(services, memory_id, emendo_settings, start_gateway):
    path = f"/v1/memories/{memory_id}/"
    with start_gateway(max_wait=0.01).tenant("acme") as tenant:
        late = tenant.put(path, json={"text": "I enjoy seafood."}, headers={"Idempotency-Key": "k"})
        event_id = late.json()["event_id"]
        assert (late.status_code, event_id in late.json()["detail"]) == (504, True)
        assert int(late.headers["retry-after"]) > 0
        assert tenant.get(path).json()["memory"] == "I dislike seafood."
        assert tenant.get(f"/v1/event/{event_id}/").json()["status"] == "PENDING"
        with MemoryClient(emendo_settings, project="acme") as client:
            drain(services, client.job(event_id))
        assert tenant.get(f"/v1/event/{event_id}/").json()["status"] == "SUCCEEDED"
        again = tenant.put(path, json={"text": "I enjoy seafood."}, headers={"Idempotency-Key": "k"})
        assert (again.status_code, again.json()["memory"], again.json()["version"]) == (200, "I enjoy seafood.", 2)


def test_a_delete_that_is_not_done_in_time_says_so(services, memory_id, start_gateway):
    with start_gateway(max_wait=0.01).tenant("acme") as tenant:
        for answer in (
            tenant.delete(f"/v1/memories/{memory_id}/"),
            tenant.request("DELETE", "/v1/batch/", json={"memories": [{"memory_id": memory_id}]}),
            tenant.delete("/v1/memories/", params={"user_id": "ana"}),
        ):
            assert (answer.status_code, answer.json()["status"], bool(answer.json()["event_id"])) == (
                *(202, "PENDING", True),
            )
        assert tenant.get(f"/v1/memories/{memory_id}/").status_code == 200
