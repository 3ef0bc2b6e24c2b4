"""Inferred adds end to end, with a scripted chat model: what facts do to what is known, and what is kept of it."""

from __future__ import annotations

import pytest
from inferring import EXTRACT, Model, memories, started, told, with_chat

from emendo_client import MemoryClient


@pytest.fixture
def settings(emendo_settings, openai_server):
    return with_chat(emendo_settings, openai_server)


@pytest.fixture
def services(settings):
    made = started(settings)
    yield made
    made.stop()


@pytest.fixture
def client(settings):
    with MemoryClient(settings) as made:
        yield made


@pytest.fixture
def model(openai_server):
    return Model(openai_server)


def test_what_is_told_is_remembered_and_what_it_cost_is_said(services, client, model):
    result = told(services, client, "I live in Porto. I have two cats.")
    assert (result.status, [item.decision for item in result.results]) == ("succeeded", ["ADD", "ADD"])
    assert memories(client) == ["I have two cats.", "I live in Porto."]
    assert model.asked == [EXTRACT], "nothing is known: there is nothing to decide"
    assert result.usage.chat_requests == 1
    assert result.usage.prompt_tokens > 100
    assert result.usage.completion_tokens > 10
    assert (result.prompts, result.degraded) == ({"extract": "extract-1"}, False)


def test_a_taste_that_changes_is_one_memory_with_two_history_entries(services, client, model):
    told(services, client, "I dislike seafood")
    model.updates("I enjoy seafood, especially sushi.", "I dislike seafood.", reason="the taste changed")
    result = told(services, client, [{"role": "user", "name": "Ana", "content": "I enjoy seafood, especially sushi"}])
    (item,) = result.results
    assert (item.event, item.decision, item.version, item.fallback) == ("UPDATE", "UPDATE", 2, None)
    assert memories(client) == ["I enjoy seafood, especially sushi."]
    first, second = client.history(item.memory_id)
    assert (first.new_memory, first.prompt_version) == ("I dislike seafood.", "extract-1")
    assert (second.old_memory, second.new_memory) == ("I dislike seafood.", "I enjoy seafood, especially sushi.")
    assert (second.reason, second.source) == ("the taste changed", "I enjoy seafood, especially sushi")
    assert (second.actor_id, second.role, second.prompt_version) == ("Ana", "user", "decide-1")
