"""Each parameter that mem0 documents has its effect, or is named in `X-Ignored-Params`."""

from __future__ import annotations

import uuid

import pytest

from tests.integration.gateway.mem0.test_contract import ADD, ALL, ONE, SEARCH, added, detail, listed

OLDER = {"org_id": "o", "project_id": "p", "output_format": "v1.1", "version": "v2", "api_version": "v2", "source": "X"}
# By call: what it needs, and the parameters without effect, with values as mem0's documentation has them.
WITHOUT_EFFECT = {
    ("POST", ADD): (
        {"messages": [{"role": "user", "content": "I dislike seafood."}], "user_id": "ana", "infer": False},
        {
            "custom_categories": [{"food": "what people eat"}],
            "custom_instructions": "short",
            "agent_custom_instructions": "short",
            "timestamp": 1_700_000_000,
            "structured_data_schema": {"type": "object"},
            "immutable": True,
            "includes": "food",
            "excludes": "work",
            "enable_graph": True,
            "async_mode": False,
        },
    ),
    ("POST", ALL): (
        {"filters": {"user_id": "ana"}},
        {"show_expired": True, "latest_only": True, "enable_graph": True},
    ),
    ("POST", SEARCH): (
        {"query": "fish", "filters": {"user_id": "ana"}},
        {
            "rerank": True,
            "reference_date": 1_700_000_000,
            "show_expired": True,
            "latest_only": False,
            "enable_graph": True,
            "filter_memories": True,
        },
    ),
    ("PUT", ONE): ({"text": "changed"}, {"timestamp": 1_700_000_000.5}),
    ("PUT", "/v1/batch/"): ({"memories": [{"memory_id": "{}", "text": "changed"}]}, {}),
    ("POST", "/v1/feedback/"): ({"memory_id": "{}", "feedback": "POSITIVE"}, {}),
}


def about(memory_id, value):
    """The value with the memory's id in place of `{}`."""
    if isinstance(value, dict):
        return {name: about(memory_id, each) for name, each in value.items()}
    if isinstance(value, list):
        return [about(memory_id, each) for each in value]
    return memory_id if value == "{}" else value


@pytest.mark.parametrize(("method", "path"), WITHOUT_EFFECT, ids=lambda value: value)
def test_what_has_no_effect_is_accepted_and_named(tenant, method, path):
    needed, ignored = WITHOUT_EFFECT[method, path]
    memory_id = added(tenant)
    body = about(memory_id, {**needed, **ignored, **OLDER})
    answer = tenant.request(method, path.format(memory_id), json=body)
    assert (answer.status_code, answer.headers.get("x-ignored-params")) == (
        *(200, ", ".join(sorted({**ignored, **OLDER}))),
    ), answer.text
    nothing = dict.fromkeys(ignored)  # as a typed option that is not set
    quiet = tenant.request(method, path.format(memory_id), json=about(memory_id, {**needed, **nothing}))
    assert (quiet.status_code, "x-ignored-params" in quiet.headers) == (200, False), quiet.text


def test_search_options_choose_memories(tenant):
    near = added(tenant, "I like tea.", metadata={"topic": "drink", "category": "food"})
    far = added(tenant, "My cat sleeps", metadata={"topic": "travel", "category": ["rest", "home"]})

    def found(**options):
        body = {"query": "I like tea.", "filters": {"user_id": "ana"}, **options}
        answer = tenant.post(SEARCH, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["results"]

    assert {hit["id"] for hit in found()} == {near, far}
    assert [hit["id"] for hit in found(top_k=1)] == [near]
    assert [(hit["score"], hit["categories"]) for hit in found(threshold=0)] == [
        (1.0, ["food"]),
        (0.0, ["rest", "home"]),
    ]
    assert [hit["id"] for hit in found(threshold=0.99)] == [near]
    assert [hit["id"] for hit in found(metadata={"topic": "travel"})] == [far]
    assert [hit["id"] for hit in found(categories=["food"])] == [near]
    assert [set(hit) for hit in found(top_k=1, fields=["memory", "score"])] == [{"id", "memory", "score"}]
    for options in ({"top_k": 1_001}, {"top_k": True}, {"top_k": "3"}, {"threshold": "high"}, {"fields": "memory"}):
        detail(tenant.post(SEARCH, json={"query": "x", "filters": {"user_id": "ana"}, **options}), 400)


def test_an_update_with_nothing_to_merge_changes_nothing(tenant):
    memory_id = added(tenant, metadata={"topic": "food"})
    path = ONE.format(memory_id)
    same = tenant.put(path, json={"metadata": {}})
    assert (same.status_code, same.json()) == (200, tenant.get(path).json())
    assert same.json()["version"] == 1
    detail(tenant.put(path, json={"timestamp": 1_700_000_000}), 400)
    detail(tenant.put(ONE.format(uuid.uuid4()), json={"metadata": {}}), 404)


def test_pages_are_bounded_and_empty_behind_the_last(tenant):
    memory_id = added(tenant)
    behind = tenant.post(f"{ALL}?page=3&page_size=1000", json={"filters": {"user_id": "ana"}}).json()
    assert (behind["results"], behind["count"], behind["next"]) == ([], 1, None)
    for query in (
        "page=1000000&page_size=1000",
        "page_size=1001",
        "page_size=0",
        "page=1.0",
        "page=+1",
        "page=1_0",
        "page=%D9%A1",
        "page=1&page=2",
    ):
        detail(tenant.post(f"{ALL}?{query}", json={"filters": {"user_id": "ana"}}), 400)
    assert listed(tenant) == {memory_id}


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_batch_of_a_thousand_is_taken_and_its_failures_are_told(tenant, method):
    own = {"memory_id": added(tenant)}
    absent = [{"memory_id": str(uuid.uuid4())} for _ in range(999)]
    items = [{**each, **({"text": "changed"} if method == "PUT" else {})} for each in (own, *absent)]
    answer = tenant.request(method, "/v1/batch/", json={"memories": items})
    assert detail(answer, 404)
    told = answer.json()
    assert (told["succeeded"], told["failed"], len(told["results"])) == (1, 999, 100)
    assert "1000" in detail(tenant.request(method, "/v1/batch/", json={"memories": [*items, own]}), 400)
