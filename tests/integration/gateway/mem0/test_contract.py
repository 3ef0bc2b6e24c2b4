"""The mem0 surface by plain HTTP: shapes, exact slashes, errors in `detail`, parameters without effect."""

from __future__ import annotations

import uuid

import pytest

ADD, ALL, SEARCH = "/v3/memories/add/", "/v3/memories/", "/v3/memories/search/"
ONE = "/v1/memories/{}/"


def added(tenant, text="I dislike seafood.", **more):
    body = {"messages": [{"role": "user", "content": text}], "user_id": "ana", "infer": False, **more}
    answer = tenant.post(ADD, json=body)
    assert (answer.status_code, answer.json()["status"]) == (200, "SUCCEEDED"), answer.text
    (result,) = answer.json()["results"]
    assert (result["event"], result["memory"], result["data"]) == ("ADD", text, {"memory": text})
    return result["id"]


def listed(tenant, filters=None, **more):
    answer = tenant.post(ALL, json={"filters": filters or {"user_id": "ana"}, **more})
    assert answer.status_code == 200, answer.text
    return {each["id"] for each in answer.json()["results"]}


def detail(answer, status):
    """The `detail` of an error; fails if it has another status or form."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    assert isinstance(document["detail"], str)
    assert document["detail"]
    return document["detail"]


def test_ping_tells_the_project_and_that_all_is_well(gateway, openai_server):
    with gateway.tenant("acme-mem0") as tenant:
        answer = tenant.get("/v1/ping/")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    told = answer.json()
    assert (told["status"], told["project_id"], bool(told["org_id"]), told["user_email"]) == (
        *("ok", "acme-mem0", True, None),
    )


def test_one_memory_through_its_life(tenant):
    memory_id = added(tenant, metadata={"topic": "food"}, agent_id="bot", run_id="r1", app_id="web")
    memory = tenant.get(ONE.format(memory_id)).json()
    assert {
        "id": memory_id,
        "memory": "I dislike seafood.",
        "user_id": "ana",
        "agent_id": "bot",
        "app_id": "web",
        "session_id": "r1",
        "metadata": {"topic": "food"},
        "categories": [],
        "expiration_date": None,
    }.items() <= memory.items()
    changed = tenant.put(ONE.format(memory_id), json={"text": "I enjoy seafood.", "metadata": {"mood": "new"}})
    assert (changed.status_code, changed.json()["memory"]) == (200, "I enjoy seafood.")
    assert changed.json()["metadata"] == {"topic": "food", "mood": "new"}
    assert changed.json()["updated_at"] > memory["updated_at"]
    (hit,) = tenant.post(SEARCH, json={"query": " I enjoy seafood. ", "filters": {"user_id": "ana"}}).json()["results"]
    assert (hit["id"], hit["run_id"], "session_id" in hit) == (memory_id, "r1", False)
    assert 0.99 < hit["score"] <= 1
    gone = tenant.delete(ONE.format(memory_id))
    assert (gone.status_code, bool(gone.json()["message"])) == (200, True)
    detail(tenant.get(ONE.format(memory_id)), 404)
    detail(tenant.delete(ONE.format(memory_id)), 404)
    detail(tenant.put(ONE.format(memory_id), json={"text": "back"}), 404)
    rows = tenant.get(ONE.format(memory_id) + "history/").json()
    assert [row["event"] for row in rows] == ["ADD", "UPDATE", "DELETE"]
    assert (rows[1]["old_memory"], rows[1]["new_memory"]) == ("I dislike seafood.", "I enjoy seafood.")
    assert {(row["memory_id"], row["user_id"], row["app_id"], row["session_id"]) for row in rows} == {
        (memory_id, "ana", "web", "r1")
    }


def test_an_inferred_add_is_an_event(tenant):
    body = {"messages": [{"role": "user", "content": "I dislike seafood."}], "user_id": "ana"}
    answer = tenant.post(ADD, json=body)
    assert (answer.status_code, answer.json()["status"]) == (202, "PENDING")
    event_id = answer.json()["event_id"]
    event = tenant.get(f"/v1/event/{event_id}/").json()
    assert (event["id"], event["event_type"]) == (event_id, "ADD")
    assert event["status"] in ("PENDING", "RUNNING", "SUCCEEDED")
    assert [each["id"] for each in tenant.get("/v1/events/").json()["results"]] == [event_id]


def test_an_event_that_is_over_tells_its_results(tenant):
    body = {"messages": "I dislike seafood.", "user_id": "ana", "infer": False}
    event_id = tenant.post(ADD, json=body).json()["event_id"]
    event = tenant.get(f"/v1/event/{event_id}/").json()
    assert (event["status"], event["error"], event["results"][0]["memory"]) == ("SUCCEEDED", None, body["messages"])
    assert event["latency"] >= 0
    missing = tenant.get(f"/v1/event/{uuid.uuid4()}/")
    assert detail(missing, 404)
    assert missing.json()["error"]


@pytest.mark.parametrize("inside", [{"user_id": "ana"}, {"AND": [{"user_id": "ana"}, {"run_id": "r"}]}])
def test_an_add_takes_its_ids_from_filters_too(tenant, inside):
    body = {"messages": "I dislike seafood.", "infer": False, "filters": inside}
    memory_id = tenant.post(ADD, json=body).json()["results"][0]["id"]
    assert tenant.get(ONE.format(memory_id)).json()["user_id"] == "ana"
    both = tenant.post(ADD, json=body | {"user_id": "ana"})
    assert both.status_code == 200
    assert "user_id" in detail(tenant.post(ADD, json=body | {"user_id": "bo"}), 400)


def test_pages_have_neighbours(tenant):
    ids = {added(tenant, f"memory {n}") for n in range(3)}
    first = tenant.post(f"{ALL}?page=1&page_size=2", json={"filters": {"user_id": "ana"}}).json()
    assert (first["count"], len(first["results"]), first["previous"]) == (3, 2, None)
    second = tenant.post(first["next"], json={"filters": {"user_id": "ana"}}).json()
    assert (len(second["results"]), second["next"]) == (1, None)
    assert tenant.post(second["previous"], json={"filters": {"user_id": "ana"}}).json()["results"] == first["results"]
    assert {each["id"] for each in first["results"] + second["results"]} == ids


def test_filters_are_mem0s(tenant):
    web = added(tenant, "from the web", app_id="web", metadata={"price": 5, "category": "food"})
    phone = added(tenant, "from the phone", app_id="phone", agent_id="bot")
    bo = added(tenant, "of another user", user_id="bo", expiration_date="2999-01-31")
    everybody = {"user_id": "*"}
    for filters, found in (
        ({"user_id": "ana"}, {web, phone}),
        (everybody, {web, phone, bo}),
        ({"agent_id": "*"}, {phone}),
        ({"app_id": "web"}, {web}),
        ({"app_id": "*"}, {web, phone}),
        ({"AND": [{"user_id": "ana"}, {"NOT": [{"app_id": "web"}]}]}, {phone}),
        ({"OR": [{"user_id": "bo"}, {"agent_id": "bot"}]}, {phone, bo}),
        ({"user_id": {"in": ["ana", "bo"]}, "metadata": {"price": {"gte": 5}}}, {web}),
        ({**everybody, "categories": {"in": ["food"]}}, {web}),
        ({**everybody, "expiration_date": "2999-01-31"}, {bo}),
        ({**everybody, "created_at": {"gte": "2999-01-01"}}, set()),
    ):
        assert listed(tenant, filters) == found, filters
    assert listed(tenant, everybody, categories=["food"]) == {web}
    assert listed(tenant, everybody, end_date="2000-01-01") == set()
    assert listed(tenant, everybody, start_date="2000-01-01") == {web, phone, bo}
    assert tenant.get(ONE.format(bo)).json()["expiration_date"] == "2999-01-31"
    chosen = tenant.post(SEARCH, json={"query": "x", "filters": everybody, "fields": ["memory"], "top_k": 1})
    assert [set(each) for each in chosen.json()["results"]] == [{"id", "memory"}]


def test_an_unknown_filter_key_is_refused_with_those_that_are_known(tenant):
    for path, more in ((ALL, {}), (SEARCH, {"query": "x"})):
        for filters in ({"user_id": "ana", "surprise": 1}, {"AND": [{"user_id": "ana"}, {"surprise": 1}]}):
            told = detail(tenant.post(path, json={"filters": filters, **more}), 400)
            assert "surprise" in told
            assert all(name in told for name in ("user_id", "app_id", "categories", "created_at", "metadata"))


@pytest.mark.parametrize(
    "filters",
    [None, {}, {"role": "user"}, {"user_id": {"ne": "ana"}}, {"OR": [{"user_id": "ana"}, {"role": "user"}]}],
)
def test_a_read_that_names_nobody_is_refused(tenant, filters):
    added(tenant)
    assert "user_id" in detail(tenant.post(ALL, json={"filters": filters}), 400)
    assert "user_id" in detail(tenant.post(SEARCH, json={"query": "x", "filters": filters}), 400)
    detail(tenant.delete("/v1/memories/"), 400)


def test_parameters_without_effect_are_named(tenant):
    body = {"messages": "x", "user_id": "ana", "infer": False, "custom_instructions": "short", "timestamp": 1}
    answer = tenant.post(ADD, json=body)
    assert (answer.status_code, answer.headers["x-ignored-params"]) == (200, "custom_instructions, timestamp")
    search = {"query": "x", "filters": {"user_id": "ana"}, "rerank": True, "output_format": "v1.1", "top_k": None}
    assert tenant.post(SEARCH, json=search).headers["x-ignored-params"] == "output_format, rerank"
    memory_id = answer.json()["results"][0]["id"]
    assert "x-ignored-params" not in tenant.get(ONE.format(memory_id)).headers
    gone = tenant.delete(ONE.format(memory_id), params={"delete_linked": "true"})
    assert gone.headers["x-ignored-params"] == "delete_linked"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", ADD, {"messages": "x", "user_id": "ana", "surprise": 1}),
        ("POST", ADD, {"messages": "x", "user_id": 5}),
        ("POST", ADD, {"messages": "x", "user_id": "ana", "ignored": ["x"]}),
        ("POST", ADD, {"messages": "x", "app_id": "web"}),
        ("POST", ADD, {"messages": "x"}),
        ("POST", ADD, {"user_id": "ana"}),
        ("POST", ADD, {"messages": "x", "user_id": "ana", "expiration_date": "soon"}),
        ("POST", ADD, {"messages": "x", "user_id": "ana", "expiration_date": "2026-02-31"}),
        ("POST", ADD, {"messages": "x", "user_id": "ana", "filters": {"role": "user"}}),
        ("POST", ADD, {"messages": "x", "filters": {"AND": ["ana"]}}),
        ("POST", SEARCH, {"filters": {"user_id": "ana"}}),
        ("POST", SEARCH, {"query": " ", "filters": {"user_id": "ana"}}),
        ("POST", SEARCH, {"query": "x", "filters": {"user_id": "ana"}, "top_k": 0}),
        ("POST", f"{ALL}?page=0", {"filters": {"user_id": "ana"}}),
        ("POST", f"{ALL}?page=x", {"filters": {"user_id": "ana"}}),
        ("POST", f"{ALL}?surprise=1", {"filters": {"user_id": "ana"}}),
        ("PUT", ONE.format(uuid.UUID(int=1)), {}),
        ("PUT", "/v1/batch/", {"memories": []}),
        ("PUT", "/v1/batch/", {"memories": [{"text": "x"}]}),
        ("PUT", "/v1/batch/", {"memories": [{"memory_id": "x", "surprise": 1}]}),
        ("PUT", "/v1/batch/", {"memories": [{"memory_id": "x"}] * 1_001}),
        ("DELETE", "/v1/batch/", {"memories": ["x"]}),
        ("POST", "/v1/feedback/", {"memory_id": str(uuid.UUID(int=1)), "feedback": "GREAT"}),
        ("POST", ADD, []),
        ("POST", ADD, None),
        ("DELETE", "/v2/entities/planet/mars/", None),
        ("DELETE", "/v1/memories/?filters=nonsense", None),
        ("DELETE", '/v1/memories/?filters={"user_id": "nobody", "user_id": "ana"}', None),
        ("DELETE", "/v1/memories/?surprise=1", None),
    ],
)
def test_what_is_wrong_is_refused(tenant, method, path, body):
    before = tenant.get("/v1/entities/").json()["count"]
    answer = tenant.request(method, path, json=body)
    if path == ONE.format(uuid.UUID(int=1)):
        detail(answer, 404)
    else:
        detail(answer, 400)
    assert tenant.get("/v1/entities/").json()["count"] == before


def test_batches_change_and_delete(tenant):
    first, second = added(tenant, "one"), added(tenant, "two")
    items = [{"memory_id": first, "text": "uno"}, {"memory_id": second, "metadata": {"n": 2}}]
    assert tenant.put("/v1/batch/", json={"memories": items}).json()["message"] == "Successfully updated 2 memories"
    assert tenant.get(ONE.format(first)).json()["memory"] == "uno"
    absent = str(uuid.uuid4())
    failed = tenant.put("/v1/batch/", json={"memories": [*items, {"memory_id": absent, "text": "x"}]})
    detail(failed, 404)
    told = failed.json()
    assert (told["succeeded"], told["failed"], [each["id"] for each in told["results"]]) == (2, 1, [absent])
    gone = tenant.request("DELETE", "/v1/batch/", json={"memories": [{"memory_id": first}, {"memory_id": second}]})
    assert (gone.status_code, gone.json()["message"]) == (200, "Successfully deleted 2 memories")
    assert listed(tenant) == set()


def test_delete_all_takes_ids_wildcards_and_the_clients_repr(tenant):
    of_ana, of_bo, of_app = added(tenant), added(tenant, user_id="bo"), added(tenant, user_id="cy", app_id="web")
    everybody = {"user_id": "*"}
    assert tenant.delete("/v1/memories/", params={"filters": "{'AND': [{'user_id': 'ana'}]}"}).status_code == 200
    assert listed(tenant, everybody) == {of_bo, of_app}
    assert of_ana
    assert tenant.delete("/v1/memories/", params={"app_id": "web"}).status_code == 200
    assert listed(tenant, everybody) == {of_bo}
    none = tenant.delete("/v1/memories/", params={"user_id": "nobody"})
    assert (none.status_code, none.json()["event_id"]) == (200, None)
    assert tenant.delete("/v1/memories/?user_id=*").status_code == 200
    assert listed(tenant, everybody) == set()


@pytest.mark.parametrize("text", ["(" * 300, "-" * 500 + "1", "{'user_id': " * 300, "{1, 2}", "['x']", "x" * 5_000, ""])
def test_a_hostile_repr_is_refused(tenant, text):
    added(tenant)
    detail(tenant.delete("/v1/memories/", params={"filters": text}), 400)
    assert len(listed(tenant)) == 1


def test_entities_are_listed_and_deleted(tenant):
    added(tenant, user_id="team/ana", agent_id="bot")
    added(tenant, user_id="bo", run_id="r/profile")
    found = tenant.get("/v1/entities/").json()
    assert [(each["type"], each["name"]) for each in found["results"]] == [
        *(("user", "bo"), ("user", "team/ana"), ("agent", "bot"), ("run", "r/profile")),
    ]
    assert (found["count"], found["total_users"], found["total_runs"]) == (4, 2, 1)
    assert tenant.delete("/v2/entities/user/team%2Fana/").status_code == 200
    assert tenant.delete("/v2/entities/agent/bot/").status_code == 200  # its memories went with the user
    assert tenant.delete("/v1/entities/run/r%2Fprofile/").status_code == 200
    detail(tenant.delete("/v2/entities/user/nobody/"), 404)
    detail(tenant.delete("/v2/entities/user/*/"), 404)
    assert tenant.get("/v1/entities/").json()["count"] == 0


def test_feedback_is_kept_with_the_memory(tenant):
    memory_id = added(tenant)
    body = {"memory_id": memory_id, "feedback": "NEGATIVE", "feedback_reason": "not true"}
    told = tenant.post("/v1/feedback/", json=body).json()
    assert (told["feedback"], told["feedback_reason"], bool(told["id"])) == ("NEGATIVE", "not true", True)
    assert tenant.get(ONE.format(memory_id)).json()["metadata"] == {
        "feedback": "NEGATIVE",
        "feedback_reason": "not true",
    }
    assert tenant.post("/v1/feedback/", json={"memory_id": memory_id, "feedback": None}).status_code == 200
    assert tenant.get(ONE.format(memory_id)).json()["metadata"] == {}
    detail(tenant.post("/v1/feedback/", json={"memory_id": str(uuid.uuid4()), "feedback": "POSITIVE"}), 404)


def test_an_expiration_date_that_cannot_be_changed_is_not_ignored(tenant):
    path = ONE.format(added(tenant, expiration_date="2999-01-31"))
    detail(tenant.put(path, json={"expiration_date": None}), 501)
    detail(tenant.put(path, json={"text": "changed", "expiration_date": "2999-02-01"}), 501)
    same = tenant.put(path, json={"text": "changed", "expiration_date": "2999-01-31"})
    assert (same.status_code, same.json()["memory"]) == (200, "changed")


def test_a_repeated_request_is_the_same_event(tenant):
    headers = {"Idempotency-Key": "k-1"}
    body = {"messages": "once", "user_id": "ana", "infer": False}
    first, again = tenant.post(ADD, json=body, headers=headers), tenant.post(ADD, json=body, headers=headers)
    assert first.json() == again.json()
    assert len(listed(tenant)) == 1
    detail(tenant.post(ADD, json=body | {"messages": "other"}, headers=headers), 422)
    path, headers = ONE.format(first.json()["results"][0]["id"]), {"Idempotency-Key": "k-2"}
    assert tenant.delete(path, headers=headers).json() == tenant.delete(path, headers=headers).json()


def test_what_takes_longer_than_the_wait_says_so_and_names_its_event(start_gateway):
    with start_gateway(max_wait=0.01).tenant() as tenant:  # and no worker
        body = {"messages": "x", "user_id": "ana", "infer": False}
        answer = tenant.post(ADD, json=body)
        assert (answer.status_code, answer.json()["status"]) == (202, "PENDING")
        event = tenant.get(f"/v1/event/{answer.json()['event_id']}/").json()
        assert (event["status"], event["results"], event["completed_at"]) == ("PENDING", [], None)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("POST", "/v1/exports/"), ("POST", "/v1/exports/get/"), ("POST", "/v1/summary/")),
        *(("GET", "/v2/entities/user/team%2Fana/profile/"), ("POST", "/v2/profiles/jobs/")),
        *(("GET", "/v2/profiles/jobs/x/"), ("GET", "/v2/profiles/settings/"), ("GET", "/v1/memories/events/")),
        *(("GET", "/api/v1/webhooks/projects/p/"), ("PUT", "/api/v1/webhooks/1/")),
        ("PATCH", "/api/v1/orgs/organizations/o/projects/p/"),
    ],
)
def test_what_is_absent_says_so_to_those_who_have_a_key(gateway, tenant, method, path):
    told = detail(tenant.request(method, path, json=None if method == "GET" else {}), 501)
    assert "this server has no" in told
    with gateway.http() as nobody:
        detail(nobody.request(method, path), 401)


@pytest.mark.parametrize("path", ["/v1/ping", "/v3/memories/add", "/v1/memories", "/v1/nothing/", "/v1/ping//"])
def test_a_path_is_exact_and_nobody_is_sent_elsewhere(tenant, path):
    detail(tenant.get(path), 404)


def test_a_method_that_the_path_does_not_take(tenant):
    detail(tenant.delete("/v1/ping/"), 405)


def test_a_key_that_opens_nothing_is_refused_in_words(gateway):
    with gateway.http("em_0000000000000000_x") as stranger:
        answer = stranger.get("/v1/ping/")
    assert "key" in detail(answer, 401)


def test_a_rate_is_told_as_mem0s_clients_read_it(gateway, openai_server):
    with gateway.tenant(rate=2) as tenant:
        answers = [tenant.get("/v1/ping/") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["x-ratelimit-remaining"] for answer in answers] == ["1", "0", "0"]
    assert detail(answers[-1], 429)
    assert int(answers[-1].headers["retry-after"]) > 0
    assert (answers[-1].headers["x-ratelimit-limit"], answers[-1].headers["x-ratelimit-reset"].isdigit()) == ("2", True)


@pytest.mark.parametrize(
    "body",
    [
        '{"messages": "x", "user_id": "ana", "user_id": "bo", "infer": false}',
        '{"messages": "x", "user_id": "ana", "infer": false, "metadata": {"price": NaN}}',
        '{"messages": "x", "user_id": "ana", "infer": false, "metadata": {"price": 1e999}}',
    ],
)
def test_a_body_with_two_meanings_is_refused(tenant, body):
    detail(tenant.post(ADD, content=body, headers={"Content-Type": "application/json"}), 400)
    assert listed(tenant, {"user_id": "*"}) == set()


@pytest.mark.parametrize(("method", "path"), [("POST", ADD), ("PUT", "/v1/batch/"), ("DELETE", "/v1/batch/")])
def test_a_write_refuses_a_query_that_it_does_not_know(tenant, method, path):
    memory_id = added(tenant)
    body = {"messages": "x", "user_id": "ana", "infer": False}
    if path != ADD:
        body = {"memories": [{"memory_id": memory_id}]}
    assert "surprise" in detail(tenant.request(method, f"{path}?surprise=1", json=body), 400)
    assert listed(tenant) == {memory_id}
