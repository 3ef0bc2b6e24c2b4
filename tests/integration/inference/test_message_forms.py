"""Messages as chat APIs have them, all the way: stored or inferred from, and what was left out in the result."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from emendo_client import AsyncMemoryClient
from tests.support.inferring import memories, told, with_chat
from tests.support.intake import drain_all
from tests.support.message_forms import FORMS

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
SAID = [
    {"role": "developer", "content": "Be kind."},
    {"role": "user", "content": [{"type": "text", "text": "I sing"}, IMAGE, IMAGE]},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "Sunny."},
    {"role": "user", "content": ""},
]
LEFT_OUT = {"image": 2, "tool_call": 1, "empty": 2}


@pytest.fixture
def settings(emendo_settings, openai_server):
    return with_chat(emendo_settings, openai_server)


def test_an_inferred_add_says_what_it_left_out_and_shows_the_model_the_context(services, client, model):
    result = told(services, client, SAID)
    assert (memories(client), result.left_out) == (["I sing."], LEFT_OUT)
    asked = json.loads(model.requests[0].body["messages"][-1]["content"])
    assert [each["content"] for each in asked["messages"]] == ["I sing"]
    assert [(each["role"], each["content"]) for each in asked["context"]] == [
        ("system", "Be kind."),
        ("tool", "Sunny."),
    ]
    (listed,) = client.jobs()
    assert listed.left_out == LEFT_OUT


async def test_the_async_client_says_it_too(services, client, model):
    async with AsyncMemoryClient(services.settings) as asynchronous:
        job = await asynchronous.add(SAID, user_id="ana", infer=False)
        drain_all(services)
        result = await job.wait(1)
    assert (memories(client), result.left_out) == (["I sing"], LEFT_OUT)


def test_of_texts_alone_nothing_is_left_out(services, client, model):
    assert told(services, client, "I sing").left_out == {}


def test_every_form_is_an_item_of_a_batch(services, client):
    job = client.batch_add([{"messages": form.messages, "user_id": "ana"} for form in FORMS.values()], infer=False)
    drain_all(services)
    result = job.wait(1)
    stored = [content for form in FORMS.values() for role, content in form.kept if role in ("user", "assistant")]
    assert (result.status, len(result.results)) == ("succeeded", len(stored))
    assert sorted(memory.memory for memory in client.get_all("ana", page_size=200).results) == sorted(stored)
    assert result.left_out == sum((Counter(form.left_out) for form in FORMS.values()), Counter())


def test_a_batch_that_is_read_as_it_is_sent_says_nothing_of_what_it_left_out(services, client):
    job = client.batch_add(({"messages": SAID, "user_id": "ana"} for _ in range(2)), infer=False)
    drain_all(services)
    assert (job.wait(1).left_out, memories(client)) == ({}, ["I sing", "I sing"])
