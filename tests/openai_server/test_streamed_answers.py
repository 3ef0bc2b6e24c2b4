"""A server that streams although nobody asked for it, and fields of the settings that ask for it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from emendo_client.errors import ConfigurationError, EmendoError, InferenceError
from emendo_client.providers.chat import create_chat_model
from emendo_client.testing.openai_server.answers import Answer
from emendo_config import Settings
from emendo_workers.inference.prompts.extract import ExtractedFacts
from tests.support.answer_shapes import DOCUMENT, SHAPES, WRITTEN, completion

ASKED = [{"role": "system", "content": "List the facts."}, {"role": "user", "content": "My boat is called Flora."}]
_PLAIN = {"index", "message", "finish_reason"}
SSE = {"content-type": "text/event-stream"}


@pytest.fixture
def ask(server):
    made = []

    def ask(**settings: Any):
        settings = Settings(chat_model="m", chat_base_url=server.base_url, chat_timeout=5.0, **settings)
        made.append(create_chat_model(settings))
        return made[-1].ask(ASKED, ExtractedFacts, max_tokens=500, partly=True)

    yield ask
    for model in made:
        model.close()


def event(chunk: Any) -> str:
    return f"data: {json.dumps(chunk, ensure_ascii=False)}\r\n\r\n"


def pieces_of(message: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The message as deltas; None if a stream cannot hold it."""
    found: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    for name, value in message.items():
        if name == "tool_calls":
            for index, call in enumerate(value or ()):
                arguments = call["function"]["arguments"]
                if not isinstance(arguments, str):
                    return None
                for part in (arguments[:9], arguments[9:]):
                    function = {**call["function"], "arguments": part}
                    found.append({"tool_calls": [{"index": index, "function": function}]})
        elif name in ("content", "refusal", "reasoning_content", "reasoning"):
            if value is not None and not isinstance(value, str):
                return None
            found += [{name: value[place : place + 7]} for place in range(0, len(value or ""), 7)]
        elif value and name != "role":
            return None
    return found


def streamed(body: dict[str, Any]) -> Answer | None:
    """The completion as a stream of chunks, with what servers put before, between and after them."""
    choices = body.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or set(choices[0]) - _PLAIN:
        return None
    deltas = pieces_of(choices[0].get("message") or {"text": "no message"})
    if deltas is None:
        return None
    ends = [{"choices": [{"index": 0, "delta": {}, "finish_reason": choices[0].get("finish_reason")}]}]
    ends += [{"choices": [], "usage": body["usage"]}] if "usage" in body else []
    begins = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}], "usage": None} for delta in deltas]
    events = "".join(map(event, begins + ends))
    return Answer(200, f": PROCESSING\r\n\r\n{events}data: [DONE]\r\n\r\n".encode(), SSE)


STREAMS = {name: answer for name, shape in SHAPES.items() if (answer := streamed(shape.body)) is not None}


def test_most_shapes_can_be_streamed():
    assert len(STREAMS) > len(SHAPES) / 2


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_read_as_the_same_answer_at_once(server, ask, name):
    shape = SHAPES[name]
    server.script(*[STREAMS[name]] * 2)
    if shape.facts is None:
        with pytest.raises(EmendoError) as refused:
            ask()
        assert refused.value.error_code == shape.code
        return
    answer = ask()
    assert (answer.document, answer.is_cut) == (ExtractedFacts.model_validate({"facts": shape.facts}), shape.is_cut)


def test_what_a_streamed_answer_cost_is_counted(server, ask):
    server.script(streamed(completion({"content": WRITTEN})))
    answer = ask()
    assert (answer.prompt_tokens, answer.completion_tokens) == (90, 30)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (event({"error": {"message": "slow down", "code": 429}}), "RATE_LIMIT"),
        (
            event({"choices": [{"delta": {"content": '{"facts"'}}]}) + event({"error": {"code": 502}}),
            "PROVIDER_FAILING",
        ),
        ("data: [DONE]\n\n", "INFERENCE_MALFORMED"),
        (": nothing\n\n", "INFERENCE_MALFORMED"),
        ("data: a web page\n\n", "INFERENCE_MALFORMED"),
        (event(7) + event([]), "INFERENCE_MALFORMED"),
    ],
)
def test_a_stream_without_an_answer_is_an_error(server, ask, body, code):
    server.script(*[Answer(200, body.encode(), SSE)] * 9)
    with pytest.raises(EmendoError) as refused:
        ask()
    assert refused.value.error_code == code


def test_a_stream_that_ends_early_is_read_as_far_as_it_goes(server, ask):
    cut = json.dumps(DOCUMENT)[: len(json.dumps({"facts": DOCUMENT["facts"][:1]})) + 9]
    server.script(Answer(200, event({"choices": [{"delta": {"content": cut}}]}).encode(), SSE))
    answer = ask()
    assert (answer.document.model_dump(), answer.is_cut) == ({"facts": DOCUMENT["facts"][:1]}, True)


def test_a_whole_completion_as_the_only_event_is_read(server, ask):
    server.script(Answer(200, event(completion({"content": WRITTEN})).encode(), SSE))
    assert ask().document == ExtractedFacts.model_validate(DOCUMENT)


def test_fields_of_the_settings_are_sent_and_win(server, ask):
    server.script(streamed(completion({"content": WRITTEN})))
    ask(chat_fields='{"enable_thinking": false, "temperature": 0.6, "stream_options": {"include_usage": true}}')
    (sent,) = (request.body for request in server.requests)
    assert (sent["enable_thinking"], sent["temperature"], sent["model"]) == (False, 0.6, "m")
    assert sent["stream_options"] == {"include_usage": True}
    assert sent["messages"] == ASKED


def test_a_refusal_of_every_form_says_where_a_missing_field_goes(server, ask):
    server.answer_chat_with(lambda _: Answer(400, b'{"error": {"message": "only in streams"}}'))
    with pytest.raises(InferenceError) as refused:
        ask()
    assert "EMENDO_CHAT_FIELDS" in refused.value.suggestion


@pytest.mark.parametrize("fields", ['{"messages": []}', '{"model": "x"}', "[]", "secret"])
def test_fields_that_cannot_be_sent_are_refused(fields):
    with pytest.raises(ConfigurationError, match="EMENDO_CHAT_FIELDS") as refused:
        Settings(chat_fields=fields)
    assert "secret" not in refused.value.message
