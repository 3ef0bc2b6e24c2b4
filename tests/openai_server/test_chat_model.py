"""Our chat model client against an OpenAI-protocol server: forms of asking, answers of no use, failures."""

from __future__ import annotations

import json
import os

import httpx2
import openai
import pytest
from pydantic import BaseModel, ConfigDict, Field

from emendo_client.errors import (
    AuthenticationError,
    ConfigurationError,
    InferenceError,
    NetworkError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
)
from emendo_client.providers.chat import create_chat_model
from emendo_client.providers.chat.response_formats import ResponseFormat, strict_schema
from emendo_client.testing import Fault, Limits, OpenAIServer, Reply
from emendo_config import Settings
from emendo_config.error_codes import ErrorCode

ASKED = [
    {"role": "system", "content": "Extract the facts."},
    {"role": "user", "content": "I moved to Lisbon, my secret is 42."},
]


class Fact(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: str = Field(description="One sentence.")
    certain: bool = True


class Facts(BaseModel):
    """Facts worth remembering."""

    model_config = ConfigDict(extra="forbid")

    facts: list[Fact]
    title: str | None = None


GOOD = '{"facts": [{"text": "lives in Lisbon", "certain": true}], "title": null}'


def settings_for(server: OpenAIServer, **more) -> Settings:
    values = {"chat_model": "m", "chat_base_url": server.base_url, "chat_api_key": "hush", "chat_timeout": 2.0}
    return Settings(**{**values, **more})


@pytest.fixture
def model(server):
    made = create_chat_model(settings_for(server))
    yield made
    made.close()


def ask(model, messages=ASKED, answer_type=Facts, **more):
    return model.ask(messages, answer_type, **{"max_tokens": 500, **more})


def formats(server) -> list[str | None]:
    return [(request.body.get("response_format") or {}).get("type") for request in server.requests]


def test_a_document_is_asked_for_by_its_schema_at_temperature_0(server, model):
    server.script(GOOD)
    answer = ask(model)
    assert answer.document == Facts(facts=[Fact(text="lives in Lisbon")])
    assert (answer.requests, answer.prompt_tokens > 0, answer.completion_tokens > 0) == (1, True, True)
    (request,) = server.requests
    assert (request.body["model"], request.body["temperature"], request.body["messages"]) == ("m", 0, ASKED)
    wanted = request.body["response_format"]["json_schema"]
    assert (wanted["name"], wanted["strict"], wanted["schema"]) == ("Facts", True, strict_schema(Facts))


@pytest.mark.parametrize(
    ("supported", "tried", "later"),
    [
        ({"text", "json_object"}, ["json_schema", "json_object"], "json_object"),
        ({"text"}, ["json_schema", "json_object", None], None),
    ],
)
def test_a_server_that_refuses_a_form_is_asked_in_a_simpler_one_and_that_is_remembered(
    server, model, supported, tried, later
):
    server.limits = Limits(response_formats=supported)
    server.script(GOOD, GOOD)
    assert ask(model).requests == len(tried)
    assert formats(server) == tried
    instructions, asked = server.requests[-1].body["messages"]
    assert asked == ASKED[1]
    assert instructions["content"].startswith("Extract the facts.")
    assert json.dumps(strict_schema(Facts)) in instructions["content"], "without structured outputs it is said in words"
    server.clear_requests()
    assert ask(model).requests == 1
    assert formats(server) == [later]


def test_without_instructions_of_its_own_a_conversation_gets_some(server, model):
    server.limits = Limits(response_formats={"text", "json_object"})
    server.script(GOOD)
    ask(model, ASKED[1:])
    first, second = server.requests[-1].body["messages"]
    assert (first["role"], second) == ("system", ASKED[1])


def test_a_request_that_every_form_of_is_refused_teaches_nothing(server, model):
    server.faults.add(Fault("bad_request", times=100))
    with pytest.raises(InferenceError) as refused:
        ask(model)
    assert (refused.value.error_code, refused.value.details["status"]) == (ErrorCode.INFERENCE, 400)
    assert "EMENDO_CHAT_MODEL" in refused.value.suggestion
    assert len(server.requests) <= 10
    server.faults.clear()
    server.clear_requests()
    server.script(GOOD)
    assert ask(model).requests == 1
    assert formats(server) == ["json_schema"]


@pytest.mark.parametrize(
    "said",
    [
        GOOD,
        f"\n {GOOD} \n",
        f"```json\n{GOOD}\n```",
        f"```\n{GOOD}```",
        f"Here are the facts:\n\n```json\n{GOOD}\n```\nAnything else?",
        f"Sure! {GOOD} Is there anything else?",
        f"<think>Is it {{a}} or {{b}}?</think>\n{GOOD}",
        '{"title": null, "facts": [{"certain": true, "text": "lives in Lisbon"}]}',
    ],
)
def test_a_document_is_found_in_what_chatty_models_say(server, model, said):
    server.limits = Limits(response_formats={"text"})
    server.script(said)
    assert ask(model).document.facts == [Fact(text="lives in Lisbon")]


def test_a_text_may_hold_code_fences_and_braces(server, model):
    text = "```json\n{}\n``` } {"
    server.script(Facts(facts=[Fact(text=text)]).model_dump_json())
    assert ask(model).document.facts[0].text == text


_USELESS = [
    (Reply(), ErrorCode.INFERENCE_MALFORMED),
    ("", ErrorCode.INFERENCE_MALFORMED),
    ("I would rather not say.", ErrorCode.INFERENCE_MALFORMED),
    ("{}", ErrorCode.INFERENCE_MALFORMED),
    ("See [] above.", ErrorCode.INFERENCE_MALFORMED),
    ("null", ErrorCode.INFERENCE_MALFORMED),
    ('{"facts": "one"}', ErrorCode.INFERENCE_MALFORMED),
    ('{"facts": [{"text": 7, "certain": true}]}', ErrorCode.INFERENCE_MALFORMED),
    ('{"facts": [{"text": "x", "certain": "yes"}]}', ErrorCode.INFERENCE_MALFORMED),
    ('{"facts": [], "title": null, "secret": "42"}', ErrorCode.INFERENCE_MALFORMED),
    ('{"facts": [{"text": "lives in', ErrorCode.INFERENCE_MALFORMED),
    ('{"facts": [{"text": "\\ud800"}]}', ErrorCode.INFERENCE_MALFORMED),
    ("{" * 5_000, ErrorCode.INFERENCE_MALFORMED),
    ('{"facts":' * 5_000 + "}" * 5_000, ErrorCode.INFERENCE_MALFORMED),
    (Reply(refusal="my secret reason"), ErrorCode.INFERENCE_REFUSED),
    (Reply(GOOD, finish_reason="content_filter"), ErrorCode.INFERENCE_REFUSED),
    (Reply('{"facts": [{"text": "lives in', finish_reason="length"), ErrorCode.INFERENCE_TRUNCATED),
]


@pytest.mark.parametrize(("said", "code"), _USELESS)
def test_an_answer_of_no_use_is_an_error_that_says_what_it_cost_and_nothing_of_it(server, model, said, code):
    server.script(said)
    with pytest.raises(InferenceError) as refused:
        ask(model)
    error = refused.value
    assert (error.error_code, error.details["requests"], len(server.requests)) == (code, 1, 1)
    assert error.details["prompt_tokens"] > 0
    assert error.__context__ is None or error.__suppress_context__
    shown = json.dumps(error.to_dict())
    assert not any(secret in shown for secret in ("secret", "42", "lives in", "Lisbon"))


@pytest.mark.parametrize(
    ("kind", "error", "code"),
    [
        ("rate_limit", RateLimitError, "RATE_LIMIT"),
        ("quota", QuotaExceededError, "QUOTA_EXCEEDED"),
        ("server_error", NetworkError, "PROVIDER_FAILING"),
        ("unavailable", NetworkError, "PROVIDER_FAILING"),
        ("request_timeout", NetworkError, "PROVIDER_FAILING"),
        ("reset", NetworkError, "PROVIDER_UNREACHABLE"),
        ("truncated", NetworkError, "PROVIDER_UNREACHABLE"),
        ("malformed_json", InferenceError, ErrorCode.INFERENCE_MALFORMED),
        ("unauthorized", AuthenticationError, "AUTHENTICATION"),
    ],
)
def test_the_providers_failures_are_ours_and_asked_once(server, model, kind, error, code):
    server.script(GOOD)
    ask(model)  # from now on the form of a request is known
    server.clear_requests()
    server.faults.add(Fault(kind, retry_after=7))
    with pytest.raises(error) as failure:
        ask(model)
    assert (type(failure.value), failure.value.error_code, len(server.requests)) == (error, code, 1)
    assert "secret" not in json.dumps(failure.value.to_dict())
    if kind == "rate_limit":
        assert failure.value.retry_after == 7
    if kind == "unauthorized":
        assert "EMENDO_CHAT_API_KEY" in failure.value.suggestion


def test_a_model_that_takes_too_long_is_a_timeout(server):
    model = create_chat_model(settings_for(server, chat_timeout=0.2))
    server.faults.add(Fault("timeout", silence=5))
    with pytest.raises(NetworkError) as failure:
        ask(model)
    assert failure.value.error_code == "PROVIDER_TIMEOUT"
    model.close()


def test_an_unknown_model_is_said_to_be_refused_and_no_other_form_is_tried(server, model):
    server.limits = Limits(models={"another"})
    with pytest.raises(InferenceError) as refused:
        ask(model)
    assert (refused.value.error_code, refused.value.details["status"]) == ("INFERENCE", 404)
    assert len(server.requests) == 1


def test_a_closed_model_may_be_asked_again(server, model):
    server.script(GOOD, GOOD)
    ask(model)
    model.close()
    assert ask(model).requests == 1


def test_without_a_model_there_is_nothing_to_make():
    with pytest.raises(ConfigurationError, match="EMENDO_CHAT_MODEL"):
        create_chat_model(Settings())


# Answers that the stand-in does not give.


def answering(monkeypatch, model, *answers: httpx2.Response) -> list[dict]:
    """The requests of a model whose server gives these answers, in order."""
    asked, left = [], list(answers)

    def handle(request: httpx2.Request) -> httpx2.Response:
        asked.append(json.loads(request.content))
        return left.pop(0)

    client = openai.OpenAI(
        api_key="x", max_retries=0, http_client=httpx2.Client(transport=httpx2.MockTransport(handle))
    )
    monkeypatch.setattr(model, "_sync", client)
    return asked


def refusal(status: int = 400, **error) -> httpx2.Response:
    return httpx2.Response(status, json={"error": {"message": "private", **error}})


def completion(**more) -> httpx2.Response:
    message = {"role": "assistant", "content": GOOD}
    return httpx2.Response(200, json={"choices": [{"message": message, "finish_reason": "stop"}], **more})


def test_a_conversation_that_is_too_long_is_too_long_in_every_form(monkeypatch, model):
    asked = answering(monkeypatch, model, refusal(code="context_length_exceeded", param="messages"))
    with pytest.raises(InferenceError) as refused:
        ask(model)
    assert (refused.value.error_code, len(asked)) == (ErrorCode.INFERENCE_TOO_LONG, 1)


def test_a_key_that_may_not_use_the_model(monkeypatch, model):
    answering(monkeypatch, model, refusal(403))
    with pytest.raises(PermissionDeniedError):
        ask(model)


@pytest.mark.parametrize(
    "body",
    [{}, {"choices": []}, {"choices": None}, {"choices": [{}]}, {"choices": [{"message": None}]}, []],
)
def test_a_completion_without_a_message_is_malformed(monkeypatch, model, body):
    answering(monkeypatch, model, httpx2.Response(200, json=body))
    with pytest.raises(InferenceError) as refused:
        ask(model)
    assert refused.value.error_code == ErrorCode.INFERENCE_MALFORMED


def test_a_server_that_counts_no_tokens_costs_none(monkeypatch, model):
    answering(monkeypatch, model, completion(), completion(usage={"prompt_tokens": None}))
    for _ in range(2):
        answer = ask(model)
        assert (answer.prompt_tokens, answer.completion_tokens) == (0, 0)


# Schemas.


class Leaf(BaseModel):
    title: str = "a property may be called like a keyword"
    default: int | None = Field(None, description="So may this.")


class Tree(BaseModel):
    leaf: Leaf = Field(Leaf(), description="A reference must stand alone.")
    leaves: list[Leaf]
    either: Leaf | str


def test_a_strict_schema_requires_every_property_and_allows_no_other():
    schema = strict_schema(Tree)
    leaf = schema["$defs"]["Leaf"]
    assert (leaf["required"], leaf["additionalProperties"]) == (["title", "default"], False)
    assert leaf["properties"]["default"] == {
        "anyOf": [{"type": "integer"}, {"type": "null"}],
        "description": "So may this.",
    }
    assert schema["properties"]["leaf"] == {"$ref": "#/$defs/Leaf"}
    assert "title" not in schema
    assert '"default":' not in json.dumps({**schema, "$defs": {}})


@pytest.mark.parametrize("answer_type", [Fact, Facts, Tree])
def test_openai_takes_our_schemas(server, api, answer_type):
    server.script("{}")
    api.chat.completions.create(model="m", **ResponseFormat.SCHEMA.request(ASKED, answer_type))


def test_a_mapping_of_anything_cannot_be_asked_for():
    class Loose(BaseModel):
        anything: dict[str, int]

    with pytest.raises(TypeError, match="mapping"):
        strict_schema(Loose)


def test_forms_get_simpler_until_there_is_none():
    assert [each.simpler for each in ResponseFormat] == [ResponseFormat.OBJECT, ResponseFormat.TEXT, None]


def test_a_chat_models_base_url_may_have_a_query_and_a_user_name(server, monkeypatch):
    seen = []
    handler = server._http.RequestHandlerClass
    kept = handler._unauthorised
    monkeypatch.setattr(
        handler, "_unauthorised", lambda self: seen.append((self.path, self.headers["authorization"])) or kept(self)
    )
    address = server.base_url.replace("//", "//me:pw@") + "?api-version=1"
    model = create_chat_model(Settings(chat_model="m", chat_base_url=address, chat_api_key=""))
    server.script(GOOD)
    assert ask(model).requests == 1
    assert seen == [("/v1/chat/completions?api-version=1", "Basic bWU6cHc=")]
    model.close()


def test_a_forked_process_asks_over_its_own_connection(server, model):
    """Two processes on one socket would get each other's answers."""
    server.answer_chat_with(lambda _: GOOD)
    ask(model)
    used = model._sync
    pid = os.fork()
    if not pid:
        code = 1
        try:
            ask(model)
            code = int(model._sync is used)
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    ask(model)
    assert model._sync is used, "the parent keeps its own"
