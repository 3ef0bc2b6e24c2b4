"""Each shape in which servers give an answer, through the real client: what is read of it, and what is not."""

from __future__ import annotations

import json

import pytest

from emendo_client.errors import EmendoError, InferenceError
from emendo_client.providers.chat import create_chat_model
from emendo_client.providers.chat.lenient_json import values_in
from emendo_client.providers.chat.thoughts import without_thoughts
from emendo_client.testing.openai_server.answers import Answer, json_answer
from emendo_config import Settings
from emendo_workers.inference.prompts.extract import ExtractedFacts
from tests.support.answer_shapes import DOCUMENT, SHAPES, WRITTEN, completion

ASKED = [{"role": "system", "content": "List the facts."}, {"role": "user", "content": "My boat is called Flora."}]


@pytest.fixture
def ask(server):
    model = create_chat_model(Settings(chat_model="m", chat_base_url=server.base_url, chat_timeout=5.0))
    yield lambda: model.ask(ASKED, ExtractedFacts, max_tokens=500, partly=True)
    model.close()


@pytest.mark.parametrize("name", [name for name, shape in SHAPES.items() if shape.facts is not None])
def test_an_answer_is_read_in_each_shape_that_servers_give_it(server, ask, name):
    shape = SHAPES[name]
    server.script(json_answer(200, shape.body))
    answer = ask()
    assert answer.document == ExtractedFacts.model_validate({"facts": shape.facts})
    assert answer.is_cut == shape.is_cut


@pytest.mark.parametrize("name", [name for name, shape in SHAPES.items() if shape.facts is None])
def test_what_is_no_answer_is_not_guessed(server, ask, name):
    server.script(*[json_answer(200, SHAPES[name].body)] * 2)
    with pytest.raises(EmendoError) as refused:
        ask()
    assert refused.value.error_code == SHAPES[name].code


@pytest.mark.parametrize("name", [name for name, shape in SHAPES.items() if shape.is_cut])
def test_an_answer_that_is_wanted_whole_is_not_read_in_part(server, name):
    model = create_chat_model(Settings(chat_model="m", chat_base_url=server.base_url, chat_timeout=5.0))
    server.script(json_answer(200, SHAPES[name].body))
    with pytest.raises(InferenceError):
        model.ask(ASKED, ExtractedFacts, max_tokens=500)
    model.close()


def test_a_body_of_another_content_type_is_read(server, ask):
    body = json.dumps(completion({"content": WRITTEN})).encode()
    server.script(Answer(200, body, {"content-type": "text/plain"}))
    assert ask().document == ExtractedFacts.model_validate(DOCUMENT)


@pytest.mark.parametrize(
    "text",
    ["{" * 9, '{"facts":', "[1,", '["', "['a\\", "{'", "<think>", "<think ", "</think>", "[THINK]", "```json\n", '"\\'],
)
def test_reading_an_answer_that_repeats_itself_comes_to_an_end(server, ask, text):
    list(values_in(text * 20_000))
    without_thoughts(text * 20_000)
    server.script(*[json_answer(200, completion({"content": text * 2_000}, "length"))] * 2)
    with pytest.raises(InferenceError):
        ask()
