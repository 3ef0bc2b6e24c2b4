"""mem0's official clients, unmodified: every call against a gateway process, a worker and Redis, and each exception."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest

from emendo_client.testing.ports import free_port
from emendo_client.testing.worker import environment
from tests.support.gateway import RunningGateway, make_key
from tests.support.mem0.driven import KINDS, ClientError, DrivenClient
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(emendo_worker, tmp_path_factory) -> Iterator[str]:
    """The address of a gateway process beside the session's worker."""
    port, log = free_port(), tmp_path_factory.mktemp("gateway") / "gateway.log"
    emendo = str(Path(sys.executable).with_name("emendo"))
    with log.open("wb") as output:
        process = subprocess.Popen(
            [emendo, "gateway", "--port", str(port)], env=environment(emendo_worker), stdout=output, stderr=output
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, "the gateway did not start"
            try:
                httpx.get(f"{url}/health/live", timeout=1)
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.fixture(params=KINDS)
def kind(request) -> str:
    return request.param


@pytest.fixture
def client(kind, served, emendo_worker, openai_server, tmp_path) -> Iterator[DrivenClient]:
    """A client with an admin key for a project of this test only."""
    key, _ = make_key(emendo_worker, f"mem0-{uuid.uuid4().hex[:8]}")
    with DrivenClient(kind, served, tmp_path) as driven:
        driven.construct(key)
        yield driven


def added(client, text="I dislike seafood.", user_id="ana", **more) -> str:
    messages = [{"role": "user", "content": text}]
    answer = client.call("add", messages, user_id=user_id, infer=False, **more)
    assert (answer["status"], bool(answer["event_id"])) == ("SUCCEEDED", True)
    (result,) = answer["results"]
    assert (result["event"], result["memory"], result["data"]) == ("ADD", text, {"memory": text})
    return result["id"]


def listed(client, filters=None, **more) -> set[str]:
    answer = client.call("get_all", filters=filters or {"user_id": "ana"}, **more)
    assert answer.keys() >= {"count", "next", "previous", "results"}
    return {each["id"] for each in answer["results"]}


def refused(client, *args, **options) -> ClientError:
    with pytest.raises(ClientError) as raised:
        client.call(*args, **options)
    return raised.value


def batch_items(client, *items):
    """The items as the client takes them: npm's has names of its own for updates."""
    if client.kind != "npm":
        return list(items)
    return [
        {"memoryId": item["memory_id"], "text": item["text"]} if "text" in item else item["memory_id"] for item in items
    ]


def test_a_memory_through_its_life(client):
    memory_id = added(client, metadata={"topic_name": "food"}, agent_id="bot", run_id="r1", app_id="web")
    memory = client.call("get", memory_id)
    assert {
        "id": memory_id,
        "memory": "I dislike seafood.",
        "user_id": "ana",
        "agent_id": "bot",
        "app_id": "web",
        "session_id": "r1",
        "metadata": {"topic_name": "food"},
    }.items() <= memory.items()
    assert listed(client) == listed(client, {"AND": [{"user_id": "*"}, {"app_id": "web"}]}) == {memory_id}
    (hit,) = client.call("search", "I dislike seafood.", filters={"user_id": "ana"}, top_k=3)["results"]
    assert (hit["id"], hit["run_id"], hit["score"] > 0.99) == (memory_id, "r1", True)
    changed = client.call("update", memory_id, text="I enjoy seafood.", metadata={"mood": "new"})
    assert (changed["memory"], changed["metadata"]) == ("I enjoy seafood.", {"topic_name": "food", "mood": "new"})
    assert client.call("delete", memory_id)["message"]
    assert [row["event"] for row in client.call("history", memory_id)] == ["ADD", "UPDATE", "DELETE"]
    assert listed(client) == set()
    for method, options in (("get", {}), ("update", {"text": "back"}), ("delete", {})):
        assert refused(client, method, memory_id, **options).kind == "MemoryNotFoundError"


def test_an_inferred_add_is_an_event(client):
    answer = client.call("add", [{"role": "user", "content": "I dislike seafood."}], user_id="ana")
    assert (answer["status"], bool(answer["event_id"])) == ("PENDING", True)


def test_pages_and_entities(client):
    ids = {added(client, f"fact {n}") for n in range(3)}
    pages = [listed(client, page=number, page_size=2) for number in (1, 2)]
    assert ([len(page) for page in pages], pages[0] | pages[1]) == ([2, 1], ids)
    added(client, user_id="team/bo", agent_id="bot")
    found = client.call("users")
    assert [(each["type"], each["name"]) for each in found["results"]] == [
        *(("user", "ana"), ("user", "team/bo"), ("agent", "bot")),
    ]
    assert client.call("delete_users", user_id="team/bo")["message"] == "Entity deleted successfully."
    assert [each["name"] for each in client.call("users")["results"]] == ["ana"]
    added(client, agent_id="bot", run_id="r")
    assert client.call("delete_users")["message"].startswith("All users")
    assert client.call("users")["count"] == 0
    assert "No entities" in refused(client, "delete_users").message


def test_delete_all(client):
    added(client), added(client, user_id="bo"), added(client, user_id="cy", app_id="web")
    assert client.call("delete_all", user_id="ana")["event_id"]
    assert len(listed(client, {"user_id": "*"})) == 2
    client.call("delete_all", app_id="web")
    assert len(listed(client, {"user_id": "*"})) == 1
    client.call("delete_all", user_id="*")
    assert listed(client, {"user_id": "*"}) == set()


def test_batches(client):
    ids = [added(client, f"fact {n}") for n in range(2)]
    items = batch_items(client, *({"memory_id": each, "text": f"new {each}"} for each in ids))
    assert client.call("batch_update", items)["message"] == "Successfully updated 2 memories"
    assert {client.call("get", each)["memory"] for each in ids} == {f"new {each}" for each in ids}
    absent = batch_items(client, {"memory_id": str(uuid.uuid4()), "text": "x"})
    assert refused(client, "batch_update", absent).kind == "MemoryNotFoundError"
    gone = client.call("batch_delete", batch_items(client, *({"memory_id": each} for each in ids)))
    assert (gone["message"], listed(client)) == ("Successfully deleted 2 memories", set())


def test_feedback(client):
    memory_id = added(client)
    told = {"feedback": "NEGATIVE", "feedback_reason": "not true"}
    call = ("feedback",) if client.kind == "npm" else ("feedback", memory_id)
    own = {"memory_id": memory_id} if client.kind == "npm" else {}
    assert client.call(*call, **own, **told).items() >= told.items()
    assert client.call("get", memory_id)["metadata"] == told


def test_what_is_absent_says_so(client):
    npm = client.kind == "npm"
    filters = {"user_id": "ana"}
    calls = [
        ("create_memory_export", [], {"schema": {} if npm else "{}", "filters": filters}),
        ("get_memory_export", [], {"filters": filters}),
        ("get_profile", [{"entityId": "ana"}] if npm else ["ana"], {}),
        ("generate_profile", [{"entityId": "ana"}] if npm else ["ana"], {}),
        ("get_profile_settings", [], {}),
        ("update_profile_settings", [], {"enabled": True}),
        ("sample_profiles", [], {"limit": 2}),
        ("get_profile_job", ["job"], {}),
        ("get_webhooks", [{"projectId": "p"}] if npm else ["p"], {}),
        ("create_webhook", [], {"url": "x", "name": "n", "event_types": []} | ({} if npm else {"project_id": "p"})),
        ("update_webhook", [], {"webhook_id": "1" if npm else 1, "name": "n"}),
        ("delete_webhook", [{"webhookId": "1"}] if npm else [1], {}),
        ("get_project", [], {"fields": ["custom_instructions"]}),
        ("update_project", [], {"custom_instructions": "short"}),
    ]
    if not npm:
        calls += [
            ("get_summary", [filters], {}),
            ("project.get", [], {}),
            ("project.update", [], {"custom_instructions": "short"}),
            ("project.create", ["name"], {}),
            ("project.delete", [], {}),
            ("project.get_members", [], {}),
            ("project.add_member", ["a@b.example"], {}),
            ("project.update_member", ["a@b.example", "OWNER"], {}),
            ("project.remove_member", ["a@b.example"], {}),
        ]
    for method, args, options in calls:
        error = refused(client, method, *args, **options)
        assert (error.kind, "this server has no" in error.message) == ("MemoryError", True), (method, error)


def test_typed_options(kind, client):
    if kind == "npm":
        pytest.skip("only the Python client has them")

    def options(name, **fields):
        return {"options": name, "fields": fields}

    mine, food = {"user_id": "ana"}, {"category": "food"}
    shared = {"filters": mine, "categories": ["food"], "show_expired": False, "latest_only": True}
    instructions = {"custom_instructions": "short", "agent_custom_instructions": "short", "timestamp": 1_700_000_000}
    schemas = {"custom_categories": [{"food": "what people eat"}], "structured_data_schema": {"type": "object"}}
    new = {"filters": mine, "metadata": food, "infer": False, "expiration_date": "2999-01-31"}
    answer = client.call("add", "I dislike seafood.", options("AddMemoryOptions", **new, **instructions, **schemas))
    memory_id = answer["results"][0]["id"]
    dates = {"start_date": "2000-01-01", "end_date": "2999-01-01T00:00:00Z"}
    page = client.call("get_all", options("GetAllMemoryOptions", **shared, **dates, page=1, page_size=5))
    chosen = {"metadata": food, "top_k": 5, "threshold": -1.0, "fields": ["memory"], "keyword_search": True}
    asked = options("SearchMemoryOptions", **shared, **chosen, rerank=True, reference_date="2026-01-31")
    hits = client.call("search", "seafood", asked)
    assert [each["id"] for each in page["results"] + hits["results"]] == [memory_id] * 2
    change = {"text": "new", "metadata": {"n": 1}, "timestamp": "2026-01-31", "expiration_date": "2999-01-31"}
    assert client.call("update", memory_id, options("UpdateMemoryOptions", **change))["memory"] == "new"
    client.call("delete_all", options("DeleteAllMemoryOptions", filters={"AND": [mine]}))
    assert listed(client) == set()


def test_each_status_is_the_clients_class(client, served, emendo_worker, tmp_path):
    unknown = refused(client, "get_all", filters={"user_id": "ana", "surprise": 1})
    assert (unknown.kind, "surprise" in unknown.message, "app_id" in unknown.message) == ("ValidationError", True, True)
    reader, _ = make_key(emendo_worker, "mem0-reader", "read")
    with DrivenClient(client.kind, served, tmp_path) as other:
        other.construct(reader)
        forbidden = refused(other, "add", [{"role": "user", "content": "x"}], user_id="ana", infer=False)
    assert forbidden.kind == "AuthenticationError"
    large = refused(client, "add", [{"role": "user", "content": "x" * (11 << 20)}], user_id="ana")
    assert large.kind == "MemoryQuotaExceededError"


def test_a_rate_that_is_used_up(client, served, emendo_worker, tmp_path):
    key, _ = make_key(emendo_worker, "mem0-rate", rate=3)
    with DrivenClient(client.kind, served, tmp_path) as slow:
        slow.construct(key)
        errors = []
        for _ in range(4):
            try:
                slow.call("users")
            except ClientError as error:
                errors.append(error)
    assert {error.kind for error in errors} == {"RateLimitError"}
    if client.kind != "npm":
        told = errors[-1].debug_info
        assert (told["retry_after"] > 0, told["x_ratelimit_limit"], told["x_ratelimit_remaining"]) == (True, "3", "0")


def test_a_wrong_key(kind, served, tmp_path):
    with DrivenClient(kind, served, tmp_path) as stranger, pytest.raises(ClientError) as raised:
        stranger.construct("em_0000000000000000_x")
    assert "key" in raised.value.message
    assert raised.value.kind == ("AuthenticationError" if kind == "npm" else "ValueError")


def test_what_takes_longer_is_a_network_error_and_names_its_event(kind, emendo_settings, tmp_path):
    """No worker runs here, so nothing is ever done."""
    with RunningGateway(emendo_settings, max_wait=0.05) as alone, DrivenClient(kind, alone.url, tmp_path) as client:
        client.construct(make_key(emendo_settings)[0])
        answer = client.call("add", [{"role": "user", "content": "x"}], user_id="ana", infer=False)
        assert (answer["status"], "results" in answer) == ("PENDING", False)
        with alone.tenant("acme") as tenant:
            event = tenant.get(f"/v1/event/{answer['event_id']}/").json()
        assert event["status"] == "PENDING"
