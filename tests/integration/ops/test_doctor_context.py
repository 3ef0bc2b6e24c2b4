"""Servers that cut a long question without a word: `emendo doctor --deep` asks one, and compares what was read."""

from __future__ import annotations

import json

import pytest

from emendo_client.testing.openai_server.answers import error, json_answer
from emendo_ops.doctor.finding import Finding
from emendo_ops.doctor.provider_answers import check_chat_context
from tests.support.answer_shapes import completion
from tests.support.inferring import with_chat

ANSWERS = [Finding("chat model", "ok", "m answered")]
WINDOW = 6_000


@pytest.fixture
def settings(emendo_settings, openai_server):
    return with_chat(emendo_settings, openai_server).model_copy(update={"inference_window_tokens": WINDOW})


@pytest.fixture
def server_with(openai_server):
    """A server with a context of so many tokens, which cuts the question; None counts none."""

    def serve(context: int | None, content: str = '{"ok": true}'):
        def answer(request):
            words = len(" ".join(each["content"] for each in request["messages"]).split())
            usage = None if context is None else {"prompt_tokens": min(words, context), "completion_tokens": 3}
            return json_answer(200, completion({"content": content}, usage=usage))

        openai_server.answer_chat_with(answer)

    return serve


@pytest.mark.parametrize(
    ("context", "content", "state", "found"),
    [
        (8_192, '{"ok": true}', "ok", "a question of 6,000 words was read whole"),
        (8_192, "Sure!", "ok", "a question of 6,000 words was read whole"),
        (4_096, '{"ok": true}', "fail", "the server read 4,096 tokens of a question of 6,000 words, and cut the rest"),
        (2_048, "Sure!", "fail", "the server read 2,048 tokens of a question of 6,000 words, and cut the rest"),
        (None, '{"ok": true}', "warn", "the server does not say how many tokens it reads"),
    ],
)
def test_a_question_that_is_cut_is_found_out(settings, server_with, context, content, state, found):  # noqa: PLR0917
    server_with(context, content)
    (said,) = check_chat_context(settings, ANSWERS)
    assert (said.state, said.found) == (state, found)
    assert ("OLLAMA_CONTEXT_LENGTH" in said.mend) is (state != "ok")


def test_a_server_that_refuses_a_long_question_is_quoted(settings, openai_server):
    openai_server.answer_chat_with(lambda _: error(400, "too long", "context_length_exceeded"))
    (said,) = check_chat_context(settings, ANSWERS)
    assert (said.state, "INFERENCE_TOO_LONG" in said.found) == ("fail", True)
    assert "EMENDO_INFERENCE_WINDOW_TOKENS" in said.mend


def test_a_model_that_is_away_or_not_there_is_not_asked(settings, emendo_settings, server_with, openai_server):
    server_with(8_192)
    assert not list(check_chat_context(settings, [Finding("chat model", "fail", "away")]))
    assert not list(check_chat_context(emendo_settings, ANSWERS))
    assert not openai_server.requests


@pytest.mark.usefixtures("services")
def test_the_deep_doctor_asks_it_and_the_quick_one_does_not(settings, server_with, openai_server, cli):
    server_with(4_096)
    quick = {each["check"] for each in json.loads(cli(settings, "doctor", "--json")[1])}
    asked = len(openai_server.requests)
    code, out, _ = cli(settings, "doctor", "--deep", "--json")
    deep = {each["check"]: each["state"] for each in json.loads(out)["findings"]}
    assert (code, deep["chat context"], "chat context" in quick) == (1, "fail", False)
    assert len(openai_server.requests) > asked
