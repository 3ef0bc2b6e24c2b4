"""Servers that take few texts at once: how many is learnt from what they take, and not from anything else."""

from __future__ import annotations

import pytest

from emendo_client.errors import EmendoError
from emendo_client.testing import EmbeddingForm, Fault
from emendo_workers.providers.meter import Meter
from tests.support.inferring import started

TEXTS = [f"text {number}" for number in range(64)]


@pytest.fixture
def requests(services, openai_server):
    """The worker's way to the provider; the form of its requests is known."""
    made = services.embedding.requests
    made.embed(["first"], Meter())
    openai_server.clear_requests()
    return made


def counts(server, status=None) -> list[int]:
    return [len(each.inputs) for each in server.requests if status in (None, each.status)]


def embedded(requests, texts=TEXTS) -> None:
    found = requests.embed(texts, Meter())
    assert [text for text in texts if isinstance(found[text], EmendoError)] == []


@pytest.mark.parametrize("status", [400, 413, 422, 500])
@pytest.mark.parametrize(("limit", "learnt"), [(10, 8), (32, 32), (1, 1)])
def test_the_next_requests_are_as_large_as_the_largest_that_was_taken(requests, openai_server, status, limit, learnt):
    openai_server.form = EmbeddingForm(max_inputs=limit, too_many=status)
    embedded(requests, TEXTS[:48] if limit == 1 else TEXTS)
    openai_server.clear_requests()
    embedded(requests, [f"{text} again" for text in TEXTS])
    assert set(counts(openai_server)) == {learnt}
    assert {each.status for each in openai_server.requests} == {200}


def test_the_search_for_the_limit_is_short(requests, openai_server):
    openai_server.form = EmbeddingForm(max_inputs=10)
    embedded(requests)
    assert len(openai_server.requests) <= 18


def test_texts_that_one_search_cannot_reach_are_embedded_by_the_next_one(requests, openai_server):
    openai_server.form = EmbeddingForm(max_inputs=3, too_many=422)
    texts = [f"text {number}" for number in range(384)]
    found = requests.embed(texts, Meter())
    left = [text for text in texts if isinstance(found[text], EmendoError)]
    assert {found[text].error_code for text in left} == {"THROTTLED"}
    openai_server.clear_requests()
    embedded(requests, left)
    assert {each.status for each in openai_server.requests} == {200}


def test_a_refused_text_teaches_nothing_about_their_number(requests, openai_server):
    openai_server.faults.add(Fault("bad_request", match="text 7", rate=1.0))
    assert isinstance(requests.embed(TEXTS, Meter())["text 7"], EmendoError)
    openai_server.faults.clear()
    openai_server.clear_requests()
    embedded(requests, [f"{text} again" for text in TEXTS if text != "text 7"])
    assert counts(openai_server) == [63]


def test_a_refused_text_does_not_hide_their_limit(requests, openai_server):
    openai_server.form = EmbeddingForm(max_inputs=10)
    openai_server.faults.add(Fault("bad_request", match="text 7", rate=1.0))
    assert isinstance(requests.embed(TEXTS, Meter())["text 7"], EmendoError)
    openai_server.clear_requests()
    embedded(requests, [f"other {text}" for text in TEXTS if text != "text 7"])
    assert {each.status for each in openai_server.requests} == {200}


def test_a_failure_that_passes_teaches_nothing_about_their_number(requests, openai_server):
    openai_server.faults.add(Fault("server_error", match="text 7", times=3))
    embedded(requests)
    openai_server.clear_requests()
    embedded(requests, [f"{text} again" for text in TEXTS])
    assert counts(openai_server) == [64]


def test_a_limit_in_the_settings_is_kept_from_the_first_request_on(settings, openai_server):
    services = started(settings.model_copy(update={"embedding_max_inputs": 10}))
    openai_server.form = EmbeddingForm(max_inputs=10)
    embedded(services.embedding.requests)
    services.stop()
    assert set(counts(openai_server)) == {10, 4}
