"""The stand-in as the double of a chat model: scripted answers, structured outputs, and what models do instead."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from pydantic import BaseModel, ValidationError

from emendo_client.testing import Limits, Reply

ASKED = [
    {"role": "system", "content": "Extract the facts as JSON."},
    {"role": "user", "content": "I moved to Lisbon."},
]


class Facts(BaseModel):
    facts: list[str]
    language: str | None


SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "Facts",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"facts": {"type": "array", "items": {"type": "string"}}},
            "required": ["facts"],
            "additionalProperties": False,
        },
    },
}


def ask(api, **more):
    return api.chat.completions.create(**{"model": "m", "messages": ASKED, **more}).choices[0]


def test_answers_are_scripted_and_then_a_function_is_asked(server, api):
    server.answer_chat_with(lambda request: request["messages"][-1]["content"].upper())
    server.script("first", "second")
    assert [ask(api).message.content for _ in range(3)] == ["first", "second", "I MOVED TO LISBON."]
    server.answer_chat_with(None)
    with pytest.raises(openai.InternalServerError, match="no chat answer is scripted"):
        ask(api)


async def test_the_async_client_is_answered_the_same(server, async_api):
    server.script("first", Reply(refusal="no"))
    answers = [await async_api.chat.completions.create(model="m", messages=ASKED) for _ in range(2)]
    assert [answer.choices[0].message.content for answer in answers] == ["first", None]
    assert answers[1].choices[0].message.refusal == "no"


def test_requests_that_come_together_get_one_answer_each(server, api):
    server.script(*map(str, range(40)))
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda _: ask(api).message.content, range(40)))
    assert sorted(map(int, said)) == list(range(40))


def test_a_function_that_fails_is_answered_with_500_and_its_error(server, api):
    server.answer_chat_with(lambda request: request["no such field"])
    with pytest.raises(openai.InternalServerError, match=r"the chat function raised KeyError\('no such field'\)"):
        ask(api)
    server.answer_chat_with(lambda request: {"facts": []})
    with pytest.raises(openai.InternalServerError, match="neither a str nor a Reply"):
        ask(api)
    assert [request.status for request in server.requests] == [500, 500]


def test_structured_outputs_are_parsed_by_the_real_client(server, api):
    server.script('{"facts": ["lives in Lisbon"], "language": null}')
    answer = api.chat.completions.parse(model="m", messages=ASKED, response_format=Facts, temperature=0)
    assert answer.choices[0].message.parsed == Facts(facts=["lives in Lisbon"], language=None)
    (request,) = server.requests
    assert (request.endpoint, request.inputs) == ("chat", [message["content"] for message in ASKED])
    wanted = request.body["response_format"]
    assert (wanted["type"], wanted["json_schema"]["name"]) == ("json_schema", "Facts")
    assert wanted["json_schema"]["schema"]["required"] == ["facts", "language"]
    assert (request.body["messages"], request.body["temperature"], request.body["model"]) == (ASKED, 0, "m")


async def test_structured_outputs_are_parsed_by_the_async_client(server, async_api):
    server.answer_chat_with(lambda request: '{"facts": [], "language": "' + request["response_format"]["type"] + '"}')
    answer = await async_api.chat.completions.parse(model="m", messages=ASKED, response_format=Facts)
    assert answer.choices[0].message.parsed == Facts(facts=[], language="json_schema")


@pytest.mark.parametrize("wanted", [SCHEMA, {"type": "json_object"}, {"type": "text"}])
def test_each_response_format_is_accepted_and_logged(server, api, wanted):
    server.script('{"facts": []}')
    assert ask(api, response_format=wanted).message.content == '{"facts": []}'
    assert server.requests[0].body["response_format"] == wanted


@pytest.mark.parametrize(
    ("supported", "refused"),
    [({"text", "json_object"}, [SCHEMA]), ({"text"}, [SCHEMA, {"type": "json_object"}])],
)
def test_a_server_without_structured_outputs_refuses_them(server, api, supported, refused):
    server.limits = Limits(response_formats=supported)
    server.script("said", "said", "said")
    for wanted in refused:
        with pytest.raises(openai.BadRequestError, match=f"of type '{wanted['type']}' is not supported") as failure:
            ask(api, response_format=wanted)
        assert (failure.value.param, failure.value.code) == ("response_format", None)
    assert [ask(api, response_format={"type": kind}).message.content for kind in supported] == ["said"] * len(supported)
    assert ask(api).message.content == "said"
    assert [request.status for request in server.requests[: len(refused)]] == [400] * len(refused)


def strict(**schema):
    return {"type": "json_schema", "json_schema": {"name": "Facts", "strict": True, "schema": schema}}


def nested(**inner):
    return {
        "type": "object",
        "properties": {"list": {"type": "array", "items": {"anyOf": [{"type": "null"}, {"type": "object", **inner}]}}},
        "required": ["list"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ("json_object", r"response_format.type'"),
        ({"type": "yaml"}, r"response_format.type': 'yaml'"),
        ({"type": ["json_object"]}, r"response_format.type'"),
        ({"type": "json_schema"}, "Missing required parameter: 'response_format.json_schema'"),
        ({"type": "json_schema", "json_schema": {"schema": {}}}, "json_schema.name"),
        ({"type": "json_schema", "json_schema": {"name": "two words"}}, "json_schema.name"),
        (strict(), "'type: \"object\"'"),
        (strict(type="array", items={"type": "string"}), "'type: \"object\"'"),
        (strict(type="object"), r"context=\(\), 'additionalProperties'"),
        (strict(type="object", properties={"a": {}}, additionalProperties=False), r"context=\(\), 'required'"),
        (strict(type="object", properties=5, additionalProperties=False), "not a JSON Schema"),
        (strict(**nested()), r"context=\('properties', 'list', 'items', 'anyOf', '1'\), 'additionalProperties'"),
        (strict(**nested(additionalProperties=False, required=["a"])), r"'anyOf', '1'\), 'required'"),
        (strict(**nested(additionalProperties=False), **{"$defs": {"It": {"type": ["object", "null"]}}}), r"'It'\)"),
    ],
)
def test_a_response_format_openai_would_refuse_is_refused(api, wanted, why):
    with pytest.raises(openai.BadRequestError, match=why) as failure:
        ask(api, response_format=wanted)
    assert failure.value.param == "response_format"


def test_only_strict_schemas_must_be_strict(server, api):
    server.script("{}")
    lax = {"type": "json_schema", "json_schema": {"name": "Facts", "schema": {"type": "object", "properties": {}}}}
    assert ask(api, response_format=lax).message.content == "{}"


def test_json_mode_must_be_asked_for_in_words(api):
    with pytest.raises(openai.BadRequestError, match="must contain the word 'json'"):
        ask(api, messages=[{"role": "user", "content": "hello"}], response_format={"type": "json_object"})


def test_a_model_may_refuse(server, api):
    server.script(Reply(refusal="I cannot help with that"))
    answer = api.chat.completions.parse(model="m", messages=ASKED, response_format=Facts)
    message = answer.choices[0].message
    assert (message.refusal, message.content, message.parsed) == ("I cannot help with that", None, None)
    assert answer.usage.completion_tokens == 5


@pytest.mark.parametrize(
    ("reason", "error"),
    [("length", openai.LengthFinishReasonError), ("content_filter", openai.ContentFilterFinishReasonError)],
)
def test_an_answer_may_be_cut_off(server, api, reason, error):
    cut = Reply('{"facts": ["lives in Lis', finish_reason=reason)
    server.script(cut, cut)
    choice = ask(api, response_format=SCHEMA)
    assert (choice.finish_reason, choice.message.content) == (reason, '{"facts": ["lives in Lis')
    with pytest.raises(error):
        api.chat.completions.parse(model="m", messages=ASKED, response_format=Facts)


def test_an_answer_may_be_empty_or_break_the_schema(server, api):
    server.script("", Reply(), '{"facts": "one"}')
    assert [ask(api).message.content for _ in range(2)] == ["", None]
    with pytest.raises(ValidationError):
        api.chat.completions.parse(model="m", messages=ASKED, response_format=Facts)


def test_a_function_may_return_a_reply(server, api):
    server.answer_chat_with(lambda request: Reply(refusal="no") if "secret" in str(request) else "yes")
    assert ask(api).message.content == "yes"
    assert ask(api, messages=[{"role": "user", "content": "secret"}]).message.refusal == "no"


def test_an_unknown_finish_reason_is_refused():
    with pytest.raises(ValueError, match="unknown finish_reason 'tired'; use one of stop, length"):
        Reply("a", finish_reason="tired")


def test_usage_counts_what_was_asked_and_said(server, api):
    server.script("four" * 3)
    parts = [{"type": "text", "text": "four" * 5}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    messages = [{"role": "system", "content": "four" * 2}, {"role": "user", "content": parts}]
    usage = api.chat.completions.create(model="m", messages=messages).usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (7, 3, 10)
    assert server.requests[0].inputs == ["four" * 2, "four" * 5]
