"""Servers that refuse a part of the request, in whatever words: asked without it, and from then on only so."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from emendo_client.errors import InferenceError, NetworkError, TransientError
from emendo_client.providers.chat import create_chat_model
from emendo_client.providers.chat.openai import OpenAIChatModel
from emendo_client.testing import OpenAIServer, Reply
from emendo_client.testing.openai_server.answers import Answer, error, json_answer
from emendo_config import Settings

ASKED = [{"role": "system", "content": "Say a word."}, {"role": "user", "content": "A secret."}]
GOOD = '{"word": "yes"}'
BOUND = 500


class Word(BaseModel):
    """One word."""

    word: str


class Words(BaseModel):
    """Some words."""

    words: list[Word]


@pytest.fixture
def model(server):
    made = create_chat_model(Settings(chat_model="m", chat_base_url=server.base_url, chat_timeout=2.0))
    yield made
    made.close()


def ask(model: OpenAIChatModel):
    return model.ask(ASKED, Word, max_tokens=BOUND)


def sent(server: OpenAIServer) -> list[dict]:
    """The optional parts of each request so far."""
    return [
        {name: value for name, value in each.body.items() if name not in ("model", "messages")}
        for each in server.requests
    ]


def format_of(request: dict) -> str | None:
    return (request.get("response_format") or {}).get("type")


def refuses(server: OpenAIServer, *parts: str, answer: Answer) -> None:
    """A server that gives this answer to every request with one of these parts."""
    server.answer_chat_with(lambda request: answer if any(part in request for part in parts) else GOOD)


# Refusals of a temperature: OpenAI, Azure, LiteLLM, FastAPI servers, Gemini, one that only says 400, two that say 500.
_OF_TEMPERATURE = {
    "a parameter": error(400, "Unsupported value", "unsupported_value", param="temperature"),
    "OpenAI without a parameter": error(400, "Unsupported value: 'temperature' does not support 0 with this model."),
    "LiteLLM": error(400, "litellm.UnsupportedParamsError: m does not support parameters: {'temperature': 0.0}"),
    "LiteLLM with 500": error(500, "litellm.BadRequestError: `temperature` may only be set to 1"),
    "pydantic": json_answer(
        422, {"detail": [{"loc": ["body", "temperature"], "msg": "Extra inputs are not permitted"}]}
    ),
    "Gemini": json_answer(400, [{"error": {"code": 400, "message": "Invalid value at temperature"}}]),
    "a text": Answer(400, b"temperature must be positive", {"content-type": "text/plain"}),
    "other words": error(400, "sampling parameters are fixed for this model"),
    "no word": error(400, "Bad Request"),
    "no body": Answer(400),
    "no word and 422": error(422, "Unprocessable"),
    "no word and 500": error(500, "Internal Server Error"),
}


@pytest.mark.parametrize("answer", _OF_TEMPERATURE.values(), ids=_OF_TEMPERATURE)
def test_a_model_that_has_its_own_temperature_is_left_it(server, model, answer):
    refuses(server, "temperature", answer=answer)
    for _ in range(3):
        assert ask(model).document.word == "yes"
    server.clear_requests()
    assert ask(model).requests == 1
    assert [(each.get("temperature"), format_of(each)) for each in sent(server)] == [(None, "json_schema")]


@pytest.mark.parametrize("answer", [_OF_TEMPERATURE["LiteLLM"], _OF_TEMPERATURE["no word"]], ids=["named", "not named"])
def test_the_form_that_works_is_remembered_at_once_when_the_server_says_that_it_refuses(server, model, answer):
    refuses(server, "temperature", answer=answer)
    ask(model)
    assert ask(model).requests == 1


@pytest.mark.parametrize(
    "answer",
    [
        error(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", param="max_tokens"),
        error(400, "Bad Request"),
        error(500, "max_tokens is not supported"),
    ],
    ids=["OpenAI", "no word", "500"],
)
def test_the_bound_has_the_name_that_the_server_takes(server, model, answer):
    refuses(server, "max_tokens", answer=answer)
    ask(model)
    server.clear_requests()
    ask(model)
    (request,) = sent(server)
    assert ("max_tokens" in request, request["max_completion_tokens"] >= BOUND) == (False, True)
    assert (request["temperature"], format_of(request)) == (0, "json_schema")


def test_a_server_that_takes_no_bound_is_asked_without(server, model):
    refuses(server, "max_tokens", "max_completion_tokens", answer=error(400, "unknown field max_tokens"))
    ask(model)
    server.clear_requests()
    assert ask(model).requests == 1
    assert set(sent(server)[0]) == {"temperature", "response_format"}


@pytest.mark.parametrize(
    "says",
    [
        "max_tokens is too large: {}. This model supports at most 600 completion tokens.",
        "`max_tokens` must be less than or equal to `600`",
        "max_tokens: {} > 600, which is the maximum allowed number of output tokens",
    ],
)
def test_a_bound_that_is_too_large_is_lowered_and_that_is_remembered(server, model, says):
    def answer(request):
        return error(400, says.format(request["max_tokens"])) if request["max_tokens"] > 600 else GOOD

    server.answer_chat_with(answer)
    ask(model)
    server.clear_requests()
    assert ask(model).requests == 1
    assert 256 <= sent(server)[0]["max_tokens"] <= 600


def test_a_bound_that_leaves_no_room_for_the_prompt_is_lowered_for_this_prompt(server, model):
    room = 600

    def answer(request):
        bound = request["max_tokens"]
        says = (
            f"'max_tokens' is too large: {bound}. This model's maximum context length is 4096 tokens and your request"
        )
        return error(400, f"{says} has 3496 input tokens ({bound} > 4096 - 3496).") if bound > room else GOOD

    server.answer_chat_with(answer)
    assert ask(model).requests > 1
    room = 4_000
    server.clear_requests()
    ask(model)
    assert sent(server)[0]["max_tokens"] > 600


@pytest.mark.parametrize("says", ["Bad Request", "response_format json_schema is not supported", "grammar error"])
@pytest.mark.parametrize("status", [400, 422, 500, 501])
def test_a_server_without_structured_outputs_is_asked_in_words(server, model, says, status):
    refuses(server, "response_format", answer=error(status, says))
    for _ in range(3):
        assert ask(model).document.word == "yes"
    server.clear_requests()
    assert ask(model).requests == 1
    assert (format_of(sent(server)[0]), sent(server)[0]["temperature"]) == (None, 0)


def test_a_server_whose_model_wrote_no_json_is_asked_in_words(server, model):
    """Groq refuses the answer of its own model with 400; no content is to blame."""
    server.answer_chat_with(lambda _: GOOD)
    ask(model)
    failed = error(400, "Failed to generate JSON. Please adjust your prompt.", "json_validate_failed")
    server.answer_chat_with(lambda request: failed if "response_format" in request else GOOD)
    assert ask(model).document.word == "yes"


@pytest.mark.parametrize("status", [400, 500])
@pytest.mark.parametrize(
    "says", ["Bad Request", "extra inputs are not permitted: response_format, temperature, max_tokens"]
)
def test_a_server_that_takes_nothing_but_messages_is_found_out(server, model, status, says):
    parts = ("temperature", "response_format", "max_tokens", "max_completion_tokens")
    refuses(server, *parts, answer=error(status, says))
    for _ in range(3):
        assert ask(model).document.word == "yes"
    server.clear_requests()
    assert (ask(model).requests, sent(server)) == (1, [{}])


@pytest.mark.parametrize(
    "answer",
    [
        error(400, "System role not supported"),
        error(500, "Jinja Exception: Conversation roles must alternate user/assistant/user/assistant/..."),
        error(400, "Unsupported value: 'messages[0].role' does not support 'system' with this model."),
        error(400, "Developer instruction is not enabled for models/gemma"),
    ],
    ids=["vLLM", "llama.cpp", "OpenAI", "Gemini"],
)
def test_a_model_without_system_messages_gets_its_instructions_from_the_user(server, model, answer):
    server.answer_chat_with(lambda request: answer if request["messages"][0]["role"] == "system" else GOOD)
    ask(model)
    server.clear_requests()
    assert ask(model).requests == 1
    (request,) = server.requests
    assert request.body["messages"] == [{"role": "user", "content": "Say a word.\n\nA secret."}]
    assert set(sent(server)[0]) == {"temperature", "response_format", "max_tokens"}


def test_a_form_that_worked_by_chance_is_not_remembered(server, model):
    server.script(error(500, "Internal Server Error"), GOOD, GOOD)
    ask(model)
    ask(model)
    assert format_of(sent(server)[-1]) == "json_schema", "the failure passed; it was no refusal"
    assert sent(server)[-1]["temperature"] == 0


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_failures_that_pass_are_no_refusals_whatever_they_say(server, model, status):
    server.script(error(status, "temperature response_format max_tokens"), GOOD)
    with pytest.raises(TransientError):
        ask(model)
    assert ask(model).requests == 1
    assert set(sent(server)[-1]) == {"temperature", "response_format", "max_tokens"}


def test_a_server_that_is_failing_is_not_asked_in_every_form_again_and_again(server, model):
    server.answer_chat_with(lambda request: error(500, "Internal Server Error"))
    for _ in range(5):
        with pytest.raises(NetworkError) as failure:
            ask(model)
        assert failure.value.error_code == "PROVIDER_FAILING"
    assert len(server.requests) <= 10 + 4
    server.answer_chat_with(lambda request: GOOD)
    assert ask(model).requests == 1
    server.answer_chat_with(lambda request: error(500, "Internal Server Error"))
    server.clear_requests()
    with pytest.raises(NetworkError):
        ask(model)
    assert len(server.requests) == 1, "a form that has worked is not doubted"


def test_when_no_form_is_accepted_the_advice_is_about_the_settings_and_not_about_the_content(server, model):
    server.answer_chat_with(lambda request: error(400, "A secret."))
    with pytest.raises(InferenceError) as refused:
        ask(model)
    document = refused.value.to_dict()
    assert (document["code"], "EMENDO_CHAT_MODEL" in document["suggestion"]) == ("INFERENCE", True)
    assert "secret" not in str(document)


def test_what_a_server_that_has_accepted_others_refuses_is_refused_for_its_content(server, model):
    server.script(GOOD)
    ask(model)
    server.answer_chat_with(lambda request: error(400, "Bad Request"))
    with pytest.raises(InferenceError) as refused:
        ask(model)
    assert (refused.value.error_code, "infer=False" in refused.value.suggestion) == ("INFERENCE_REFUSED", True)


@pytest.mark.parametrize("code", ["content_filter", "content_policy_violation"])
def test_a_refused_content_is_refused_in_every_form_and_asked_once(server, model, code):
    server.script(error(400, "The response was filtered.", code))
    with pytest.raises(InferenceError) as refused:
        ask(model)
    assert (refused.value.error_code, len(server.requests)) == ("INFERENCE_REFUSED", 1)


def test_a_model_that_thinks_gets_more_room_and_keeps_it(server, model):
    thought = {"role": "assistant", "content": "", "reasoning_content": "Let me see. "}
    cut = {
        "choices": [{"message": thought, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 7},
    }
    server.script(json_answer(200, cut), Reply(GOOD), Reply(GOOD))
    answer = ask(model)
    assert (answer.document.word, answer.requests) == ("yes", 2)
    assert (answer.prompt_tokens > 5, answer.completion_tokens > 7) == (True, True), "both are paid for"
    ask(model)
    first, second, third = (request["max_tokens"] for request in sent(server))
    assert BOUND < first < second == third


def test_a_model_whose_thoughts_leave_too_little_gets_more_room_the_next_time(server, model):
    said = {"content": '{"words": [{"word": "yes"}, {"wo', "reasoning_content": "Let me see."}
    server.script(json_answer(200, {"choices": [{"message": said, "finish_reason": "length"}]}), '{"words": []}')
    answer = model.ask(ASKED, Words, max_tokens=BOUND, partly=True)
    assert (answer.document, answer.is_cut, answer.requests) == (Words(words=[Word(word="yes")]), True, 1)
    model.ask(ASKED, Words, max_tokens=BOUND, partly=True)
    first, second = (request["max_tokens"] for request in sent(server))
    assert first < second


def test_a_model_that_thinks_without_end_is_given_up(server, model):
    cut = {"choices": [{"message": {"content": "<think>Hm. "}, "finish_reason": "length"}]}
    server.answer_chat_with(lambda request: json_answer(200, cut))
    with pytest.raises(InferenceError) as failure:
        ask(model)
    assert (failure.value.error_code, len(server.requests)) == ("INFERENCE_TRUNCATED", 2)
