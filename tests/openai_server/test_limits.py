"""The stand-in refuses the requests that OpenAI would refuse, and the real client reports them."""

from __future__ import annotations

import openai
import pytest

from emendo_client.testing import Limits, OpenAIServer

USER = {"role": "user", "content": "hello"}


def embed(api, texts, **more):
    return api.embeddings.create(**{"model": "m", "input": texts, "dimensions": 8, **more}).data


def refusal(ask) -> dict[str, str | None]:
    """The error OpenAI's shape holds, as the client reads it."""
    with pytest.raises(openai.BadRequestError) as failure:
        ask()
    assert set(failure.value.body) == {"message", "type", "param", "code"}
    assert failure.value.type == "invalid_request_error"
    return failure.value.body


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        ([], "must not be empty"),
        ("", "must not be empty"),
        (["a", ""], "must not be empty"),
        (None, "must be a string or a list of strings"),
        ([[1, 2, 3]], "must be a string or a list of strings"),
        ({"text": "a"}, "must be a string or a list of strings"),
        (["a"] * 2_049, "2049 items; at most 2048"),
        (["a", "x" * 40_000], r"input\[1\].*8192 tokens, not 10000"),
    ],
)
def test_texts_the_provider_would_refuse_are_refused(server, api, texts, why):
    with pytest.raises(openai.BadRequestError, match=why):
        embed(api, texts)
    assert [request.status for request in server.requests] == [400]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"model": ""}, "model parameter"),
        ({"model": 5}, "model parameter"),
        ({"dimensions": 0}, "not a positive integer"),
        ({"dimensions": True}, "not a positive integer"),
        ({"dimensions": "8"}, "not a positive integer"),
        ({"encoding_format": "hex"}, "neither 'float' nor 'base64'"),
    ],
)
def test_options_of_a_wrong_form_are_refused(api, wrong, why):
    with pytest.raises(openai.BadRequestError, match=why):
        embed(api, ["a"], **wrong)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"messages": []}, "at least one message"),
        ({"messages": "hello"}, "at least one message"),
        ({"messages": ["hello"]}, "object with a role"),
        ({"messages": [{"content": "hello"}]}, "object with a role"),
        ({"model": ""}, "model parameter"),
        ({"stream": True}, "does not stream"),
    ],
)
def test_chat_requests_of_a_wrong_form_are_refused_and_use_up_no_answer(server, api, wrong, why):
    server.script("said")
    with pytest.raises(openai.BadRequestError, match=why):
        api.chat.completions.create(**{"model": "m", "messages": [USER], **wrong})
    assert api.chat.completions.create(model="m", messages=[USER]).choices[0].message.content == "said"


def test_lowered_limits_are_reached_cheaply(server, api):
    server.limits = Limits(max_inputs=2, max_tokens=3)
    assert len(embed(api, ["a" * 15, "b"])) == 2
    assert "3 items; at most 2" in refusal(lambda: embed(api, ["a", "b", "c"]))["message"]
    assert refusal(lambda: embed(api, "a" * 16))["code"] == "context_length_exceeded"


def test_without_a_list_every_model_is_known(api):
    assert [model.id for model in api.models.list()] == ["text-embedding-3-small"]
    assert len(embed(api, "a", model="anything")) == 1


async def test_models_that_are_not_listed_do_not_exist(server, api, async_api):
    server.limits = Limits(models=frozenset({"small", "large"}))
    server.script("said")
    assert [model.id async for model in async_api.models.list()] == ["large", "small"]
    assert len(embed(api, "a", model="small")) == 1
    with pytest.raises(openai.NotFoundError, match="`other` does not exist") as failure:
        embed(api, "a", model="other")
    assert failure.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError, match="`other` does not exist"):
        await async_api.chat.completions.create(model="other", messages=[USER])


def test_a_wrong_form_is_seen_before_an_unknown_model(server, api):
    server.limits = Limits(models=frozenset())
    assert "must not be empty" in refusal(lambda: embed(api, [], model="other"))["message"]


def test_limits_can_be_given_at_the_start():
    limits = Limits(max_inputs=1)
    with (
        OpenAIServer(limits=limits) as server,
        openai.OpenAI(base_url=server.base_url, api_key="x", max_retries=0) as api,
    ):
        refusal(lambda: embed(api, ["a", "b"]))
        server.limits = Limits()
        assert len(embed(api, ["a", "b"])) == 2
        server.reset()
        refusal(lambda: embed(api, ["a", "b"]))


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_inputs": 0},
        {"max_inputs": 2_049},
        {"max_tokens": 0},
        {"max_tokens": 8_193},
        {"response_formats": {"text", "yaml"}},
    ],
)
def test_limits_that_cannot_be_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        Limits(**wrong)
