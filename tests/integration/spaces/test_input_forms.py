"""Models that embed a query other than a passage: prefixes and fields belong to the space, as the model does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from emendo_client import MemoryClient
from emendo_client.errors import ConfigurationError
from emendo_client.records.derived_fields import text_hash
from emendo_config import Settings
from emendo_config.embedding_space import EmbeddingSpace
from emendo_config.spaces.bootstrap import ensure_index
from emendo_config.spaces.registry import SpaceRecord, SpaceState, save_space
from emendo_ops.doctor.spaces import check_spaces
from tests.support.inferring import started
from tests.support.intake import added, drain
from tests.support.migrating import active_space, reembedded, until_phase, worked
from tests.support.spaces import assert_right, open_space, own_space, right_vector, switch

E5 = {"embedding_passage_prefix": "passage: ", "embedding_query_prefix": "query: "}
COHERE = {
    "embedding_passage_fields": '{"input_type": "search_document", "truncate": "END"}',
    "embedding_query_fields": '{"truncate":"END","input_type":"search_query"}',
}


def with_forms(settings: Settings, **forms) -> Settings:
    return settings.model_copy(update=forms)


@pytest.fixture
def e5(settings, openai_server):
    made = started(with_forms(settings, **E5))
    yield made
    made.stop()


def sent(server) -> list[str]:
    return [text for request in server.requests for text in request.inputs]


def test_memories_and_queries_are_sent_with_their_prefixes(e5, openai_server):
    with MemoryClient(e5.settings) as client:
        memory_id = added(e5, client, "I like rowing.")
        assert [hit.id for hit in client.search("rowing", user_id="ana")] == [memory_id]
    assert sent(openai_server) == ["passage: I like rowing.", "query: rowing"]
    assert_right(e5, memory_id, own_space(e5))


def test_fields_go_with_each_request(settings, openai_server):
    services = started(with_forms(settings, **COHERE))
    with MemoryClient(services.settings) as client:
        added(services, client, "I like rowing.")
        client.search("rowing", user_id="ana")
    services.stop()
    assert [(each.body["input_type"], each.body["truncate"]) for each in openai_server.requests] == [
        ("search_document", "END"),
        ("search_query", "END"),
    ]


def test_a_client_takes_them_from_the_store(e5, settings, openai_server):
    """A web app needs no prefix in its settings, and cannot have a wrong one."""
    with MemoryClient(with_forms(settings, embedding_query_prefix="wrong: ")) as client:
        client.search("rowing", user_id="ana")
    assert sent(openai_server) == ["query: rowing"]


def test_the_vector_of_a_query_never_serves_as_that_of_a_memory(settings, openai_server):
    cached = {"embedding_lru_bytes": 1 << 20, "embedding_cache_ttl": 60, "embedding_cache_bytes": 1 << 20}
    services = started(with_forms(settings, **E5, **cached))
    with MemoryClient(services.settings) as client:
        client.search("I like rowing.", user_id="ana")
        memory_id = added(services, client, "I like rowing.")
        client.search("I like rowing.", user_id="ana")
    assert sent(openai_server) == ["query: I like rowing.", "passage: I like rowing."]
    assert_right(services, memory_id, own_space(services))
    plain = SpaceRecord(settings.space)
    assert services.data.exists(services.keys.embedding(own_space(services).name, text_hash("I like rowing.")))
    assert not services.data.exists(services.keys.embedding(plain.name, text_hash("I like rowing.")))
    services.stop()


CHANGES = [
    ({"embedding_passage_prefix": "text: "}, "passage_prefix is 'passage: ' in the store and 'text: ' in the settings"),
    ({"embedding_query_prefix": ""}, "query_prefix is 'query: ' in the store and '' in the settings"),
    ({"embedding_query_fields": '{"a": 1}'}, "query_fields is '' in the store and '{\"a\":1}' in the settings"),
]


@pytest.mark.parametrize(("change", "says"), CHANGES)
def test_another_prefix_is_refused_like_another_model(e5, change, says):
    with pytest.raises(ConfigurationError) as refused:
        ensure_index(e5.data, with_forms(e5.settings, **change))
    assert says in refused.value.message
    assert next(iter(change)).upper() in refused.value.suggestion
    (finding,) = check_spaces(e5.data, with_forms(e5.settings, **change))
    assert finding.state == "fail"
    assert next(iter(change)).removeprefix("embedding_") in finding.found


def test_a_store_without_prefixes_keeps_its_names():
    assert EmbeddingSpace("openai", "m", 8).name == "openai_m_8_1"
    assert '"passage"' not in SpaceRecord(EmbeddingSpace("openai", "m", 8)).to_json()


def test_a_record_with_forms_is_read_back_as_it_was_written(e5, settings):
    for each in (own_space(e5), SpaceRecord(with_forms(settings, **COHERE).space)):
        assert SpaceRecord.from_json(each.to_json()) == each
    forms = [E5, COHERE, {**E5, "embedding_query_prefix": ""}, {"embedding_query_prefix": "passage: "}, {}]
    assert len({with_forms(settings, **each).space.name for each in forms}) == len(forms)


def test_prefixes_come_by_a_re_embedding_that_workers_of_the_old_settings_carry_out(services, client, openai_server):
    memory_id = added(services, client, "I like rowing.")
    old = active_space(services)
    with MemoryClient(with_forms(services.settings, **E5)) as operator:
        assert operator.reembed(dry_run=True).tokens > 0
        job = operator.reembed()
        until_phase(services, client, "catching_up")
        openai_server.clear_requests()
        client.search("rowing", user_id="ana")
        assert sent(openai_server) == ["rowing"], "searches are in the old space"
        assert worked(services, job).status == "succeeded"
    new = active_space(services)
    assert_right(services, memory_id, old, new)
    assert right_vector(old, "I like rowing.") != right_vector(new, "I like rowing.")
    assert client.search("rowing", user_id="ana")[0].id == memory_id
    assert sent(openai_server)[-1] == "query: rowing"
    assert ensure_index(services.data, with_forms(services.settings, **E5)) == new


def test_another_query_prefix_alone_costs_no_vector_of_a_memory(e5, openai_server):
    with (
        MemoryClient(e5.settings) as client,
        MemoryClient(with_forms(e5.settings, embedding_query_prefix="question: ")) as operator,
    ):
        memory_id = added(e5, client, "I like rowing.")
        client.search("rowing", user_id="ana")
        openai_server.clear_requests()
        reembedded(e5, operator)
        assert sent(openai_server) == []
        assert client.search("rowing", user_id="ana")[0].id == memory_id
        assert sent(openai_server)[-1] == "question: rowing"


def test_prefixes_go_by_a_re_embedding_too(e5, settings, openai_server):
    with MemoryClient(e5.settings) as client, MemoryClient(settings) as operator:
        memory_id = added(e5, client, "I like rowing.")
        assert reembedded(e5, operator).space.has_plain_texts
        assert client.search("rowing", user_id="ana")[0].id == memory_id
        assert sent(openai_server)[-1] == "rowing"


def test_another_index_keeps_the_prefixes(e5, settings):
    with MemoryClient(settings) as operator:
        assert reembedded(e5, operator, algorithm="hnsw").space.passage.prefix == "passage: "


ONE, OTHER = "BAAI/bge-m3", "baai-bge_m3"


def test_two_models_with_one_slug_are_told_apart_in_words(settings, openai_server):
    services = started(with_forms(settings, embedding_model=ONE))
    other = with_forms(settings, embedding_model=OTHER)
    assert other.space.name == services.settings.space.name
    with pytest.raises(ConfigurationError) as refused:
        ensure_index(services.data, other)
    assert f"model is '{ONE}' in the store and '{OTHER}' in the settings" in refused.value.message
    assert "EMENDO_EMBEDDING_MODEL" in refused.value.suggestion
    (finding,) = check_spaces(services.data, other)
    assert f"model '{OTHER}' instead of '{ONE}'" in finding.found
    services.stop()


def test_and_share_no_vector_in_a_store_that_moves_from_one_to_the_other(settings, openai_server):
    services = started(with_forms(settings, embedding_model=ONE))
    first = own_space(services)
    second = SpaceRecord(replace(first.space, model=OTHER, generation=2), state=SpaceState.LIVE)
    save_space(services.data, services.keys, replace(first, state=SpaceState.LIVE))
    open_space(services, second)
    switch(services, second)
    services.stop()
    # A worker whose settings name the new model: its name, in the first generation, is that of the old space.
    services = started(with_forms(settings, embedding_model=OTHER))
    with MemoryClient(services.settings) as client:
        memory_id = added(services, client, "I like rowing.")
        assert_right(services, memory_id, first, second)
        drain(services, client.delete(memory_id, hard=True))
    services.stop()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"embedding_query_fields": "secret"}, "EMENDO_EMBEDDING_QUERY_FIELDS: Value error, it is no JSON object"),
        ({"embedding_passage_fields": '{"input": "secret"}'}, "it has input, which Emendo sets itself"),
        (
            {"embedding_provider": "local", "embedding_query_prefix": "query: "},
            "the local embedder takes texts as",
        ),
    ],
)
def test_forms_that_cannot_be_sent_are_refused(monkeypatch, values, says):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigurationError) as refused:
        Settings(**values)
    assert says in refused.value.message
    assert "secret" not in refused.value.message
