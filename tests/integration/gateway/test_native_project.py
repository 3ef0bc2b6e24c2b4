"""The native surface's calls on many memories and on a whole project, end to end."""

from __future__ import annotations

import uuid

import pytest

from emendo_client.testing.openai_server.faults import Fault
from emendo_gateway import watching
from tests.integration.gateway.conftest import problem
from tests.integration.gateway.test_native_memories import JOBS, MEMORIES, WAIT, added

BATCHES = "/api/v1/batches"


def add(text: str, user: str = "ana") -> dict:
    return {"op": "add", "messages": text, "user_id": user}


# Batches.


def test_a_batch_changes_many_memories_and_each_item_ends_by_itself(tenant):
    first, second, third = (added(tenant, text) for text in ("one", "two", "three"))
    tenant.patch(f"{MEMORIES}/{third}", json={"text": "newer"}, headers=WAIT)
    items = [
        add("four"),
        {"op": "update", "memory_id": first, "text": "changed", "expected_version": 1},
        {"op": "delete", "memory_id": second},
        {"op": "update", "memory_id": third, "text": "lost", "expected_version": 1},
        {"op": "update", "memory_id": str(uuid.uuid4()), "text": "nobody's"},
        {"op": "update", "memory_id": "no id!", "text": "x"},
    ]
    accepted = tenant.post(BATCHES, json={"items": items, "infer": False})
    assert (accepted.status_code, accepted.headers["location"]) == (202, accepted.json()["url"])
    ended = tenant.get(accepted.json()["url"], headers=WAIT).json()
    assert (ended["status"], ended["items"]) == ("partially_succeeded", 6)
    page = tenant.get(f"{accepted.json()['url']}/results").json()
    assert page["results"] == ended["results"]
    assert [each["event"] for each in page["results"]] == ["ADD", "UPDATE", "DELETE", None, None, None]
    codes = [each["error"]["code"] for each in page["results"][3:]]
    assert codes == ["VERSION_MISMATCH", "MEMORY_NOT_FOUND", "VALIDATION"]
    assert tenant.get(f"{MEMORIES}/{third}").json()["memory"] == "newer"
    assert tenant.get(f"{MEMORIES}/{first}").json()["memory"] == "changed"


def test_a_thousand_items_are_taken_and_one_more_is_not(tenant):
    items = [add(f"fact {n}") for n in range(1_000)]
    answer = tenant.post(BATCHES, json={"items": items, "infer": False}, headers=WAIT)
    assert (answer.status_code, len(answer.json()["results"])) == (200, 1_000)
    results, url = [], f"{JOBS}/{answer.json()['job_id']}/results"
    cursor = None
    while True:
        page = tenant.get(url, params={"cursor": cursor} if cursor else {}).json()
        results += page["results"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert results == answer.json()["results"]
    problem(tenant.post(BATCHES, json={"items": [*items, add("more")], "infer": False}), 400, "VALIDATION")


@pytest.mark.parametrize(
    "items",
    [
        [],
        [{"op": "surprise"}],
        [{"memory_id": "x"}],
        [{"op": "add", "messages": "x", "user_id": "ana", "surprise": 1}],
        [{"op": "delete", "memory_id": 7}],
        [{"op": "update", "memory_id": "x", "text": "y", "expected_version": -1}],
        [{"op": "add", "messages": "x"}],
        "items",
    ],
)
def test_a_batch_that_is_wrong_as_a_whole_is_refused(tenant, items):
    problem(tenant.post(BATCHES, json={"items": items}), 400, "VALIDATION")
    assert tenant.get(JOBS).json() == {"results": []}


def test_a_batch_takes_its_versions_by_item_only(tenant):
    body = {"items": [add("x")], "infer": False}
    assert (
        "expected_version"
        in problem(tenant.post(BATCHES, json=body, headers={"If-Match": '"1"'}), 400, "VALIDATION")["advice"]
    )


def test_a_repeated_batch_is_the_same_job(tenant):
    headers = WAIT | {"Idempotency-Key": str(uuid.uuid4())}
    body = {"items": [add("once"), add("twice")], "infer": False}
    first, again = (tenant.post(BATCHES, json=body, headers=headers) for _ in range(2))
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json()["job_id"] == again.json()["job_id"]
    other = {"items": [add("another")], "infer": False}
    problem(tenant.post(BATCHES, json=other, headers=headers), 422, "IDEMPOTENCY_KEY_REUSED")
    assert tenant.post(f"{MEMORIES}/count", json={"user_id": "ana"}).json() == {"count": 2}


def test_a_batch_of_a_users_key_reaches_that_user_only(gateway, tenant):
    project = f"bound-{uuid.uuid4().hex[:8]}"
    with gateway.tenant(project) as whole, gateway.tenant(project, user_id="ana") as bound:
        others = added(whole, "bob's own words", user_id="bob")
        own = added(whole, "ana's")
        items = [
            {"op": "delete", "memory_id": others},
            {"op": "update", "memory_id": own, "text": "changed"},
            add("taken over", "bob"),
            {"op": "add", "messages": "mine"},
        ]
        answer = bound.post(BATCHES, json={"items": items, "infer": False}, headers=WAIT)
        assert answer.status_code == 200, answer.text
        errors = [each["error"] for each in answer.json()["results"]]
        assert [error and error["code"] for error in errors] == ["MEMORY_NOT_FOUND", None, "VALIDATION", None]
        assert whole.get(f"{MEMORIES}/{others}").json()["version"] == 1
        assert whole.get(MEMORIES, params={"user_id": "bob"}).json()["total"] == 1
        # A batch of other users is nobody's for that key.
        body = {"items": [add("bob's", "bob"), add("bob's too", "bob")], "infer": False}
        foreign = whole.post(BATCHES, json=body, headers=WAIT).json()["job_id"]
        for path in ("", "/results", "/progress", "/events"):
            problem(bound.get(f"{JOBS}/{foreign}{path}"), 404, "JOB_NOT_FOUND")
        for path in ("users", "agents", "runs", "conflicts", "project/rules"):
            problem(bound.get(f"/api/v1/{path}"), 403, "KEY_SCOPE")
        assert bound.post(f"{MEMORIES}/delete", json={}, headers=WAIT).status_code == 200
        assert whole.get(MEMORIES, params={"user_id": "bob"}).json()["total"] == 3


# Consistency.


def test_a_strong_write_is_found_by_searches_when_it_is_answered(tenant):
    body = {"messages": "I enjoy hiking.", "user_id": "ana", "infer": False}
    answer = tenant.post(MEMORIES, json=body, params={"consistency": "strong"}, headers=WAIT)
    assert answer.status_code == 200
    hits = tenant.post(f"{MEMORIES}/search", json={"query": "hiking", "user_id": "ana"}).json()["results"]
    assert [hit["memory"] for hit in hits] == ["I enjoy hiking."]
    problem(tenant.post(MEMORIES, json=body, params={"consistency": "strong"}), 400, "VALIDATION")
    for headers in (WAIT, {"Idempotency-Key": "k"}):
        problem(tenant.post(MEMORIES, json=body, params={"consistency": "weak"}, headers=headers), 400, "VALIDATION")
    problem(tenant.post(MEMORIES, json=body, params={"consistency": "surprise"}), 400, "VALIDATION")
    assert tenant.post(MEMORIES, json=body, params={"consistency": "weak"}).status_code == 202


# Scopes, users, rules.


def test_a_scope_is_deleted_and_purged(tenant):
    first = added(tenant, "one")
    added(tenant, "two")
    added(tenant, "bob's", user_id="bob")
    deleted = tenant.post(f"{MEMORIES}/delete", json={"user_id": "ana"}, headers=WAIT)
    assert (deleted.status_code, len(deleted.json()["results"])) == (200, 2)
    assert tenant.post(f"{MEMORIES}/delete", json={"user_id": "ana"}, headers=WAIT).status_code == 204
    problem(tenant.post(f"{MEMORIES}/delete", json={}), 400, "VALIDATION")
    assert tenant.get(f"{MEMORIES}/{first}", params={"include_deleted": True}).status_code == 200
    assert tenant.post("/api/v1/purges", json={"deleted_before": "2001-01-01T00:00:00Z"}).status_code == 204
    assert (
        tenant.post("/api/v1/purges", json={"deleted_before": "2101-01-01T00:00:00Z"}, headers=WAIT).status_code == 200
    )
    problem(tenant.get(f"{MEMORIES}/{first}", params={"include_deleted": True}), 404, "MEMORY_NOT_FOUND")
    assert tenant.get("/api/v1/users").json() == {"results": [{"id": "bob", "memories": 1}], "next_cursor": None}


def test_users_agents_and_runs_are_counted_page_by_page(tenant):
    for user in ("ana", "bob", "bob"):
        added(tenant, f"of {user}", user_id=user, agent_id="helper", run_id=f"run-{user}")
    first = tenant.get("/api/v1/users", params={"limit": 1}).json()
    assert first["results"] == [{"id": "ana", "memories": 1}]
    second = tenant.get("/api/v1/users", params={"limit": 1, "cursor": first["next_cursor"]}).json()
    assert second["results"] == [{"id": "bob", "memories": 2}]
    assert tenant.get("/api/v1/agents").json()["results"] == [{"id": "helper", "memories": 3}]
    assert [each["id"] for each in tenant.get("/api/v1/runs").json()["results"]] == ["run-ana", "run-bob"]


@pytest.mark.parametrize("user", ["ana", "a/b", "..", "ä ?&#%2F"])
def test_a_user_is_erased_and_the_report_says_how_much(tenant, user):
    memory_id = added(tenant, "classified", user_id=user)
    added(tenant, "another's", user_id="bob")
    answer = tenant.post("/api/v1/erasures", json={"user_id": user}, headers=WAIT)
    assert answer.json()["results"][0]["erased"]["memories"] == 1
    problem(tenant.get(f"{MEMORIES}/{memory_id}", params={"include_deleted": True}), 404, "MEMORY_NOT_FOUND")
    assert tenant.get(MEMORIES, params={"user_id": "bob"}).json()["total"] == 1


def test_rules_are_changed_part_by_part(tenant):
    path = "/api/v1/project/rules"
    assert tenant.get(path).json() == {"instructions": "", "categories": []}
    tenant.patch(path, json={"instructions": "Remember food."})
    assert tenant.patch(path, json={"categories": ["food"]}).json() == {
        "instructions": "Remember food.",
        "categories": ["food"],
    }
    problem(tenant.patch(path, json={"categories": "food"}), 400, "VALIDATION")


def test_a_memory_is_diagnosed(tenant):
    memory_id = added(tenant, "classified")
    found = tenant.get(f"{MEMORIES}/{memory_id}/diagnosis")
    assert (found.status_code, found.json()["ok"], "classified" in found.text) == (200, True, False)
    problem(tenant.get(f"{MEMORIES}/{uuid.uuid4()}/diagnosis"), 404, "MEMORY_NOT_FOUND")


# Conflicts and dead letters.


def conflict(tenant, memory_id: str) -> str:
    item = {"op": "update", "memory_id": memory_id, "text": "ours", "expected_version": 1, "on_conflict": "manual"}
    answer = tenant.post(BATCHES, json={"items": [item]}, headers=WAIT)
    assert answer.status_code == 200, answer.text
    ((found,),) = [tenant.get("/api/v1/conflicts").json()["results"]]
    return found["id"]


def test_a_conflict_is_read_and_resolved(tenant):
    memory_id = added(tenant, "base")
    tenant.patch(f"{MEMORIES}/{memory_id}", json={"text": "theirs"}, headers=WAIT)
    path = f"/api/v1/conflicts/{conflict(tenant, memory_id)}"
    found = tenant.get(path).json()
    assert (found["base"], found["ours"], found["theirs"]) == ("base", "ours", "theirs")
    body = {"choice": "merged", "text": "both", "actor_id": "kim"}
    problem(tenant.post(f"{path}/resolve", json=body, headers={"If-Match": '"1"'}), 412, "VERSION_MISMATCH")
    seen = tenant.get(f"{MEMORIES}/{memory_id}").headers["etag"]
    headers = WAIT | {"If-Match": seen, "Idempotency-Key": str(uuid.uuid4())}
    resolved, again = (tenant.post(f"{path}/resolve", json=body, headers=headers) for _ in range(2))
    assert (resolved.status_code, again.status_code) == (200, 200), (resolved.text, again.text)
    assert resolved.json()["job_id"] == again.json()["job_id"]
    assert tenant.get(f"{MEMORIES}/{memory_id}").json()["memory"] == "both"
    problem(tenant.get(path), 404, "NO_SUCH_CONFLICT")
    problem(tenant.post(f"{path}/resolve", json=body), 404, "NO_SUCH_CONFLICT")


DEAD = "/api/v1/dead-letters"


@pytest.fixture
def unbearable(openai_server):
    """The provider refuses texts that say so."""
    openai_server.faults.add(Fault("bad_request", times=10_000, match="unbearable"))


def dead(tenant) -> str:
    """The id of a dead letter: a text that the provider refuses."""
    body = {"messages": "unbearable", "user_id": "ana", "infer": False}
    job = tenant.post(MEMORIES, json=body).json()
    assert tenant.get(job["url"], headers=WAIT).json()["status"] == "failed"
    return job["job_id"]


@pytest.mark.usefixtures("unbearable")
def test_dead_letters_are_read_replayed_and_discarded(tenant):
    first, second = dead(tenant), dead(tenant)
    listed = tenant.get(DEAD, params={"kind": "add"}).json()["results"]
    assert [each["job_id"] for each in listed] == [second, first]
    assert listed[0]["payload"][0]["text"] == "unbearable"
    assert tenant.get(DEAD, params={"kind": "update"}).json() == {"results": []}
    assert tenant.get(f"{DEAD}/{first}").json() == listed[1]
    assert tenant.delete(f"{DEAD}/{second}").status_code == 204
    problem(tenant.get(f"{DEAD}/{uuid.uuid4()}"), 404, "JOB_NOT_FOUND")
    again = tenant.post(f"{DEAD}/{first}/replay", headers=WAIT)
    assert (again.status_code, again.headers["location"]) == (502, f"{JOBS}/{first}"), again.text
    assert again.json()["details"] == {"status": 400, "provider_code": "content_policy_violation"}  # see the advice
    replayed = tenant.post(f"{DEAD}/{first}/replay")
    assert (replayed.status_code, replayed.json()["url"]) == (202, f"{JOBS}/{first}")


@pytest.mark.usefixtures("unbearable")
def test_the_end_of_a_replayed_chunk_is_heard_of(tenant, openai_server, monkeypatch):
    """Without a message of its own a wait would look again after five seconds, and stale."""
    batch = tenant.post(BATCHES, json={"items": [add("fine"), add("unbearable")], "infer": False}, headers=WAIT).json()
    chunk = f"{batch['job_id']}:0"
    for name in ("LOOK", "RECHECK"):
        monkeypatch.setattr(watching, name, 60.0)
    openai_server.latency_ms = 300  # so that the wait begins before the end
    again = tenant.post(f"{DEAD}/{chunk}/replay", headers={"Prefer": "wait=20"})
    assert (again.status_code, again.json()["job_id"]) == (200, chunk), again.text
    assert again.json()["status"] == "partially_succeeded"


@pytest.mark.usefixtures("unbearable")
def test_many_dead_letters_are_handled_at_once(tenant, openai_server):
    ids = [dead(tenant) for _ in range(3)]
    assert tenant.post(f"{DEAD}/discard", json={"kind": "update"}).json() == {"count": 0, "complete": True}
    openai_server.faults.clear()
    assert tenant.post(f"{DEAD}/replay", json={"kind": "add"}).json() == {"count": 3, "complete": True}
    assert {tenant.get(f"{JOBS}/{each}", headers=WAIT).json()["status"] for each in ids} == {"succeeded"}
    openai_server.faults.add(Fault("bad_request", times=10_000, match="unbearable"))
    dead(tenant)
    assert tenant.post(f"{DEAD}/discard", json={}).json() == {"count": 1, "complete": True}
    assert tenant.get(DEAD).json() == {"results": []}


# Re-embedding.


def test_a_key_re_embeds_only_where_a_setting_allows_it(gateway, tenant, emendo_settings):
    for method, path in [("GET", ""), ("POST", ""), ("POST", "/plan"), ("POST", "/pause"), ("POST", "/rollback")]:
        body = {"model": "another-model"} if path in ("", "/plan") else None
        refused = problem(tenant.request(method, f"/api/v1/reembedding{path}", json=body), 403, "KEY_SCOPE")
        assert "EMENDO_GATEWAY_REEMBEDDING" in refused["advice"]


def test_a_re_embedding_is_planned_and_controlled(start_gateway):
    with start_gateway(reembedding=True).tenant() as operator:
        path = "/api/v1/reembedding"
        assert operator.get(path).json() == {"reembedding": None}
        problem(operator.post(f"{path}/pause"), 409, "NO_MIGRATION")
        problem(operator.post(f"{path}/rollback"), 409, "NO_MIGRATION")
        problem(operator.post(path, json={"surprise": 1}), 400, "VALIDATION")
