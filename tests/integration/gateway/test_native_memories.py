"""The native surface, end to end: memories and jobs over HTTP, with a real worker behind it."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.gateway.conftest import problem
from tests.support.gateway import browser

MEMORIES, JOBS = "/api/v1/memories", "/api/v1/jobs"
WAIT = {"Prefer": "wait=60"}


def added(tenant, text="I dislike seafood.", **more) -> str:
    body = {"messages": text, "user_id": "ana", "infer": False, **more}
    answer = tenant.post(MEMORIES, json=body, headers=WAIT)
    assert (answer.status_code, answer.json()["status"]) == (200, "succeeded"), answer.text
    return answer.json()["results"][0]["memory_id"]


def test_an_add_is_a_job_with_an_address(tenant):
    answer = tenant.post(MEMORIES, json={"messages": "I dislike seafood.", "user_id": "ana", "infer": False})
    job = answer.json()
    assert (answer.status_code, job["status"]) == (202, "queued")
    assert answer.headers["location"] == job["url"] == f"{JOBS}/{job['job_id']}"
    ended = tenant.get(job["url"], headers=WAIT)
    assert (ended.status_code, ended.json()["status"], ended.json()["kind"]) == (200, "succeeded", "add")
    (result,) = ended.json()["results"]
    memory = tenant.get(f"{MEMORIES}/{result['memory_id']}")
    assert (memory.status_code, memory.json()["memory"], memory.headers["etag"]) == (200, "I dislike seafood.", '"1"')


def test_a_request_may_wait_for_its_result(tenant):
    memory_id = added(tenant)
    answer = tenant.patch(f"{MEMORIES}/{memory_id}", json={"text": "I enjoy seafood."}, headers=WAIT)
    assert (answer.status_code, answer.headers["preference-applied"]) == (200, "wait")
    assert answer.json()["results"][0] | {"memory": "I enjoy seafood.", "version": 2} == answer.json()["results"][0]


def test_a_wait_that_is_over_leaves_the_job_where_it_is(start_gateway):
    with start_gateway().tenant() as tenant:
        body = {"messages": "x", "user_id": "ana", "infer": False}
        answer = tenant.post(MEMORIES, json=body, headers={"Prefer": "respond-async, wait=1"})
        assert (answer.status_code, answer.json()["status"]) == (202, "queued")
        assert tenant.get(answer.headers["location"], headers={"Prefer": "wait=1"}).json()["status"] == "queued"


def test_nobody_waits_for_longer_than_the_gateway_lets(start_gateway):
    with start_gateway(max_wait=0.05, request_timeout=1.0).tenant() as tenant:
        body = {"messages": "x", "user_id": "ana", "infer": False}
        answer = tenant.post(MEMORIES, json=body, headers={"Prefer": "wait=999999999"})
        assert (answer.status_code, answer.json().get("status")) == (202, "queued")


def test_reads_list_and_search(tenant):
    first, second = added(tenant, "one about fish"), added(tenant, "two about tea")
    page = tenant.get(MEMORIES, params={"user_id": "ana", "limit": 1, "order": "created_at"})
    assert ([each["id"] for each in page.json()["results"]], page.json()["total"]) == ([first], 2)
    following = page.links["next"]["url"]
    assert [each["id"] for each in tenant.get(following).json()["results"]] == [second]
    assert "next" not in tenant.get(following).links
    hits = tenant.post(f"{MEMORIES}/search", json={"query": "one about fish", "user_id": "ana"}).json()["results"]
    assert {hit["id"] for hit in hits} == {first, second}
    assert hits[0]["id"] == first


def test_a_reader_with_the_version_gets_it_no_second_time(tenant):
    memory_id = added(tenant)
    for known in ('"1"', 'W/"1"', '"7", "1"', "*", '"1",', ', "1"', '"7",\t, "1"', '"a,b","1"'):
        answer = tenant.get(f"{MEMORIES}/{memory_id}", headers={"If-None-Match": known})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", '"1"')
    for strange, status in (('"2"', 200), ('"7", ' * 99 + '"1"', 304), ('"7", ' * 100 + '"1"', 400)):
        answer = tenant.get(f"{MEMORIES}/{memory_id}", headers={"If-None-Match": strange})
        assert answer.status_code == status, strange
    for malformed in ('*, "1"', "1", "", ",", '"1""2"', '"1" "2"', 'w/"1"', '"1'):
        problem(tenant.get(f"{MEMORIES}/{memory_id}", headers={"If-None-Match": malformed}), 400, "VALIDATION")


@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE"])
def test_a_stale_version_is_refused_at_once_and_changes_nothing(tenant, method):
    memory_id = added(tenant)
    path = f"{MEMORIES}/{memory_id}"
    assert tenant.patch(path, json={"text": "second"}, headers=WAIT | {"If-Match": '"1"'}).status_code == 200
    body = None if method == "DELETE" else {"text": "lost"}
    for stale, expected in {'"1"': 1, 'W/"2"': None, '"1", "3"': None, '"2,3"': None}.items():
        refused = problem(tenant.request(method, path, json=body, headers={"If-Match": stale}), 412, "VERSION_MISMATCH")
        assert refused["details"] == {"expected_version": expected, "current_version": 2}
    assert tenant.get(path).json()["memory"] == "second"
    changed = tenant.request(method, path, json=body, headers=WAIT | {"If-Match": '"2"'})
    assert (changed.status_code, changed.json()["results"][0]["version"]) == (200, 3)


def test_of_two_changes_of_one_version_one_is_refused(tenant):
    path = f"{MEMORIES}/{added(tenant)}"

    def change(n: int):
        return tenant.patch(path, json={"text": f"change {n}"}, headers=WAIT | {"If-Match": '"1"'})

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(change, range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7
    assert {answer.json()["code"] for answer in answers if answer.status_code == 412} == {"VERSION_MISMATCH"}
    assert tenant.get(path).json()["version"] == 2


def test_if_match_any_needs_a_memory_and_if_none_match_any_needs_none(tenant):
    path, absent = f"{MEMORIES}/{added(tenant)}", f"{MEMORIES}/{uuid.uuid4()}"
    assert tenant.patch(path, json={"text": "x"}, headers=WAIT | {"If-Match": "*"}).status_code == 200
    problem(tenant.patch(absent, json={"text": "x"}, headers={"If-Match": "*"}), 412, "VERSION_MISMATCH")
    problem(tenant.put(path, json={"text": "x"}, headers={"If-None-Match": "*"}), 412, "VERSION_MISMATCH")
    problem(tenant.put(absent, json={"text": "x"}, headers={"If-None-Match": "*"}), 404, "MEMORY_NOT_FOUND")
    problem(tenant.patch(path, json={"text": "x"}, headers={"If-Match": "2"}), 400, "VALIDATION")


def test_put_replaces_the_metadata_and_patch_merges_it(tenant):
    path = f"{MEMORIES}/{added(tenant, metadata={'a': 1, 'b': 2})}"
    tenant.patch(path, json={"metadata": {"c": 3}}, headers=WAIT)
    assert tenant.get(path).json()["metadata"] == {"a": 1, "b": 2, "c": 3}
    tenant.put(path, json={"text": "new", "metadata": {"b": 9}}, headers=WAIT)
    memory = tenant.get(path).json()
    assert (memory["memory"], memory["metadata"], memory["version"]) == ("new", {"b": 9}, 3)


# Idempotency keys.


@pytest.mark.parametrize("spelling", ['"{}"', "{}"])
def test_a_repeated_request_is_the_same_job(tenant, spelling):
    headers = {"Idempotency-Key": spelling.format(uuid.uuid4())}
    body = {"messages": "once", "user_id": "ana", "infer": False}
    first = tenant.post(MEMORIES, json=body, headers=WAIT | headers).json()
    again = tenant.post(MEMORIES, json=body, headers=headers)
    assert (again.status_code, again.json()["job_id"]) == (200, first["job_id"])
    assert again.json()["results"] == first["results"]
    other = tenant.post(MEMORIES, json=body | {"messages": "twice"}, headers=headers)
    assert problem(other, 422, "IDEMPOTENCY_KEY_REUSED")["details"] == {"job_id": first["job_id"]}
    assert tenant.get(MEMORIES, params={"user_id": "ana"}).json()["total"] == 1


def test_quoted_and_bare_are_the_same_key(tenant):
    body, key = {"messages": "once", "user_id": "ana", "infer": False}, uuid.uuid4()
    first = tenant.post(MEMORIES, json=body, headers=WAIT | {"Idempotency-Key": f'"{key}"'})
    again = tenant.post(MEMORIES, json=body, headers={"Idempotency-Key": f"{key}"})
    assert first.json()["job_id"] == again.json()["job_id"]
    assert ("preference-applied" in first.headers, "preference-applied" in again.headers) == (True, False)


def test_a_repeat_while_the_job_runs_is_a_conflict(start_gateway):
    headers = {"Idempotency-Key": "k"}
    body = {"messages": "once", "user_id": "ana", "infer": False}
    with start_gateway().tenant() as tenant:
        job = tenant.post(MEMORIES, json=body, headers=headers).json()
        again = tenant.post(MEMORIES, json=body, headers=headers)
        assert problem(again, 409, "STILL_RUNNING")["details"] == {"job_id": job["job_id"]}
        assert again.headers["location"] == job["url"]
        problem(tenant.post(MEMORIES, json=body | {"messages": "x"}, headers=headers), 422, "IDEMPOTENCY_KEY_REUSED")


@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE"])
def test_a_repeated_change_is_not_refused_for_its_own_effect(tenant, method):
    path = f"{MEMORIES}/{added(tenant, metadata={'a': 1})}"
    body = None if method == "DELETE" else {"text": "changed", "metadata": {"b": 2}}
    based_on = f'"0", "1", "{"9" * 30}"'
    headers = WAIT | {"If-Match": based_on, "Idempotency-Key": str(uuid.uuid4())}
    first = tenant.request(method, path, json=body, headers=headers)
    again = tenant.request(method, path, json=body, headers=headers)
    assert (first.status_code, again.status_code) == (200, 200), again.text
    assert first.json()["job_id"] == again.json()["job_id"]
    assert first.json()["results"][0]["version"] == 2
    problem(tenant.request(method, path, json=body, headers=headers | {"If-Match": '"1", "2"'}), 400, "VALIDATION")


def test_an_escaped_character_of_a_key_counts_once(tenant):
    headers = {"Idempotency-Key": '"' + r"\"" * 200 + '"'}
    body = {"messages": "once", "user_id": "ana", "infer": False}
    first = tenant.post(MEMORIES, json=body, headers=WAIT | headers)
    assert first.status_code == 200, first.text
    assert tenant.post(MEMORIES, json=body, headers=headers).json()["job_id"] == first.json()["job_id"]


@pytest.mark.parametrize("key", [r'"a\b"', '"', '"a', 'a"b', "", '""', "a b", "é", "x" * 257])
def test_a_key_that_is_none_is_refused(tenant, key):
    body = {"messages": "once", "user_id": "ana", "infer": False}
    headers = [("Idempotency-Key", key.encode("latin-1"))]
    problem(tenant.post(MEMORIES, json=body, headers=headers), 400, "VALIDATION")


@pytest.mark.parametrize("field", ["If-Match", "If-None-Match", "Idempotency-Key"])
@pytest.mark.parametrize(
    ("method", "path", "body", "keeps"),
    [
        ("PATCH", f"{MEMORIES}/%s", {"text": "changed"}, {"If-Match", "Idempotency-Key"}),
        ("DELETE", f"{MEMORIES}/%s", None, {"If-Match", "Idempotency-Key"}),
        ("POST", f"{MEMORIES}/%s/restore", {"version": 1}, {"Idempotency-Key"}),
        ("POST", f"{MEMORIES}/delete", {"user_id": "ana"}, set()),
        ("POST", "/api/v1/erasures", {"user_id": "ana"}, set()),
        ("PUT", "/v1/memories/%s/", {"text": "changed"}, {"Idempotency-Key"}),
        ("DELETE", "/v1/memories/%s/", None, {"Idempotency-Key"}),
    ],
)
def test_a_condition_that_a_call_does_not_keep_is_refused(tenant, method, path, body, keeps, field):  # noqa: PLR0917
    """Done without a look at it, the request would do what its caller ruled out: RFC 9110, 13.1."""
    memory_id = added(tenant)
    path = path.replace("%s", memory_id)
    answer = tenant.request(method, path, json=body, headers=WAIT | {field: "*" if field != "If-Match" else '"9"'})
    if field not in keeps:
        assert (answer.status_code, answer.json()["code"]) == (400, "VALIDATION")
        assert field in answer.json()["detail"]
    assert (tenant.get(f"{MEMORIES}/{memory_id}").json().get("version") == 1) is (
        field != "Idempotency-Key" or not keeps
    )


# Malformed requests.


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"messages": "x", "user_id": "ana", "surprise": "classified"}, "body.surprise"),
        ({"user_id": "ana"}, "body.messages"),
        ({"messages": "x", "user_id": ["classified"]}, "body.user_id"),
        ({"messages": "x", "user_id": "ana", "infer": "classified"}, "body.infer"),
        ([], "body"),
        (None, "body"),
    ],
)
def test_a_field_that_is_wrong_is_named_and_its_value_is_not(tenant, body, field):
    refused = problem(tenant.post(MEMORIES, json=body), 400, "VALIDATION")
    assert refused["errors"][0]["field"] == field
    assert "classified" not in str(refused)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b'{"messages": "x"', b"[" * 50_000, b"nul"])
def test_a_body_that_is_no_json_is_refused(tenant, content):
    headers = {"Content-Type": "application/json"}
    problem(tenant.post(MEMORIES, content=content, headers=headers), 400, "VALIDATION")


def test_a_body_of_another_type_is_refused(tenant):
    for headers in ({"Content-Type": "text/plain"}, {"Content-Encoding": "gzip", "Content-Type": "application/json"}):
        answer = tenant.post(MEMORIES, content=b'{"messages": "x", "user_id": "a"}', headers=headers)
        problem(answer, 415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize("query", ["surprise=1", "user_id=a&user_id=b", "user_id=a&limit=0", "user_id=a&limit=x", ""])
def test_a_query_that_is_not_understood_is_refused(tenant, query):
    problem(tenant.get(f"{MEMORIES}?{query}"), 400, "VALIDATION")


def test_paths_and_methods_that_are_not_there(tenant):
    problem(tenant.get("/api/v1/nothing"), 404, "UNKNOWN_PATH")
    problem(tenant.get("/api/v1/memories/"), 404, "UNKNOWN_PATH")
    assert "POST" in tenant.delete(MEMORIES).headers["allow"]
    problem(tenant.delete(MEMORIES), 405, "METHOD_NOT_ALLOWED")
    assert tenant.delete("/v1/nothing/").json()["detail"].startswith("there is nothing at this path")
    page = tenant.get("/errors/VERSION_MISMATCH")
    assert (page.status_code, "expected version" in page.text) == (200, True)


def test_a_repeated_erasure_is_the_same_job(tenant):
    path = f"{MEMORIES}/{added(tenant)}"
    headers = WAIT | {"Idempotency-Key": str(uuid.uuid4())}
    first = tenant.delete(path, params={"hard": "true"}, headers=headers)
    again = tenant.delete(path, params={"hard": "true"}, headers=headers)
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json()["job_id"] == again.json()["job_id"]
    problem(tenant.delete(path, params={"hard": "true"}), 404, "MEMORY_NOT_FOUND")


def test_a_deleted_memory_is_hidden_and_comes_back(tenant):
    path = f"{MEMORIES}/{added(tenant)}"
    assert tenant.patch(path, json={"text": "second"}, headers=WAIT).status_code == 200
    assert tenant.delete(path, headers=WAIT).status_code == 200
    problem(tenant.get(path), 404, "MEMORY_NOT_FOUND")
    assert tenant.get(path, params={"include_deleted": "true"}).json()["is_deleted"] is True
    assert tenant.post(f"{MEMORIES}/count", json={"user_id": "ana"}).json() == {"count": 0}
    restored = tenant.post(f"{path}/restore", json={"version": 1}, headers=WAIT)
    assert (restored.status_code, restored.json()["results"][0]["event"]) == (200, "RESTORE")
    assert tenant.get(path).json()["memory"] == "I dislike seafood."
    events = [entry["event"] for entry in tenant.get(f"{path}/history").json()["results"]]
    assert events == ["ADD", "UPDATE", "DELETE", "RESTORE"]
    assert tenant.post(f"{MEMORIES}/count", json={"user_id": "ana"}).json() == {"count": 1}


def test_jobs_are_listed_and_one_that_waits_is_cancelled(start_gateway):
    with start_gateway().tenant() as tenant:
        body = {"messages": "x", "user_id": "ana", "infer": False}
        key = {"Idempotency-Key": "k"}
        job = tenant.post(MEMORIES, json=body, headers=key).json()
        assert tenant.post(f"{job['url']}/cancel").json() == {"job_id": job["job_id"], "cancelled": True}
        again = tenant.post(MEMORIES, json=body, headers=key)
        assert problem(again, 409, "CANCELLED")["job_id"] == job["job_id"]
        of_mem0 = tenant.post("/v3/memories/add/", json=body, headers=key)
        assert (of_mem0.status_code, of_mem0.json()["code"]) == (409, "CANCELLED")
        event = tenant.get(f"/v1/event/{job['job_id']}/").json()
        assert (event["status"], event["error"]) == ("FAILED", "the job was cancelled")
        (listed,) = tenant.get(JOBS, params={"status": "cancelled"}).json()["results"]
        assert (listed["job_id"], listed["kind"]) == (job["job_id"], "add")
        assert tenant.get(JOBS, params={"status": "queued"}).json() == {"results": []}
        problem(tenant.get(JOBS, params={"status": "surprising"}), 400, "VALIDATION")


def test_no_part_of_a_request_is_read_in_a_thread(emendo_settings, monkeypatch):
    """FastAPI reads what a plain function is to give in one, which costs more than all of an add."""

    def refuse(*_, **__):
        pytest.fail("a dependency is a plain function")

    monkeypatch.setattr("fastapi.dependencies.utils.run_in_threadpool", refuse)
    headers = {"Idempotency-Key": "x", "Prefer": "wait=0", "If-Match": '"1"', "If-None-Match": '"2"'}
    with browser(emendo_settings, auth="off") as http:
        body = {"messages": "x", "user_id": "ana", "infer": False}
        key = {"Idempotency-Key": "x", "Prefer": "wait=0"}
        assert http.post("/api/v1/memories", json=body, headers=key).status_code == 202
        assert http.get("/api/v1/memories/none", headers=headers).status_code in (400, 404)
        assert http.put("/api/v1/memories/none", json={"text": "x"}, headers=headers).status_code in (400, 404, 412)
        assert http.get("/v1/ping/", headers=headers).status_code == 200
