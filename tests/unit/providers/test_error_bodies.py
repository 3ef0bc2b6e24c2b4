"""The body of a provider's error is read for short names, and for an input that is too long; never shown."""

from __future__ import annotations

import json

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emendo_client.errors import (
    AuthenticationError,
    EmbeddingError,
    InferenceError,
    NetworkError,
    QuotaExceededError,
    RateLimitError,
)
from emendo_client.providers.error_bodies import provider_details
from emendo_client.providers.openai_errors import CHAT, EMBEDDING, translate
from emendo_client.testing.openai_server.too_long import SERVERS, too_long

SECRET = "I dislike seafood"


def error_of(status: int, body: object, provider=EMBEDDING):
    """The error as the openai client makes it of an answer."""
    request = httpx2.Request("POST", "http://localhost/v1/embeddings")
    content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    response = httpx2.Response(status, content=content, request=request)
    return translate(openai.OpenAI(api_key="x")._make_status_error_from_response(response), provider)


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize(
    ("provider", "kind", "code", "advice"),
    [
        (EMBEDDING, EmbeddingError, "EMBEDDING_TOO_LONG", "shorten the text"),
        (CHAT, InferenceError, "INFERENCE_TOO_LONG", "EMENDO_INFERENCE_WINDOW_TOKENS"),
    ],
    ids=["embedding", "chat"],
)
def test_too_many_tokens_is_understood_in_each_servers_words(server, provider, kind, code, advice):
    answer = too_long(server, 512, 600)
    error = error_of(answer.status, json.loads(answer.body), provider)
    assert (type(error), error.error_code, error.details["status"]) == (kind, code, answer.status)
    assert advice in error.suggestion
    assert "600" not in str(error.to_dict()), "the provider's words stay out"


def test_a_request_larger_than_a_minutes_tokens_is_too_long_for_any_minute():
    """Groq says it with the code of a rate limit, which would come back; this does not."""
    said = "Request too large for model `m` in organization `o` on tokens per minute (TPM): Limit 6000, Requested 9000"
    error = error_of(413, {"error": {"message": said, "type": "tokens", "code": "rate_limit_exceeded"}}, CHAT)
    assert error.error_code == "INFERENCE_TOO_LONG"


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "batch size 64 > maximum allowed batch size 32", EmbeddingError),
        (400, "Invalid 'input': maximum request size is 300000 tokens per request.", EmbeddingError),
        (422, "Too many tokens in batch. Max is 16384 got 20000", EmbeddingError),
        (429, "Too many tokens, please wait before trying again.", RateLimitError),
        (500, "CUDA out of memory", NetworkError),
        (424, "the backend failed", NetworkError),
        (421, "Misdirected Request", NetworkError),
        (425, "Too Early", NetworkError),
        (499, "The operation was cancelled.", NetworkError),
        (520, "Web server is returning an unknown error", NetworkError),
        (529, "Overloaded", NetworkError),
        (429, "Request too large for model `m` on tokens per minute (TPM): Limit 6000", RateLimitError),
    ],
)
def test_other_limits_are_not_taken_for_it(status, message, kind):
    error = error_of(status, {"error": {"message": message}})
    assert (type(error), "TOO_LONG" in error.error_code) == (kind, False)


@pytest.mark.parametrize(
    ("details", "seconds"),
    [
        ([{"@type": "type.googleapis.com/google.rpc.Help"}, {"retryDelay": "34.07s"}], 34.07),
        ([{"retryDelay": "soon"}], None),
        ([{"retryDelay": 3}, "x"], None),
        ({"retryDelay": "3s"}, None),
    ],
)
def test_geminis_pause_is_in_the_body(details, seconds):
    error = error_of(429, [{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": details}}])
    assert (type(error), error.retry_after) == (RateLimitError, seconds)


@pytest.mark.parametrize(
    ("body", "details"),
    [
        (
            {
                "error": {
                    "message": SECRET,
                    "type": "invalid_request_error",
                    "param": "dimensions",
                    "code": "unsupported",
                }
            },
            {"code": "unsupported", "type": "invalid_request_error", "param": "dimensions"},
        ),
        (
            {"object": "error", "message": SECRET, "type": "BadRequestError", "code": 400},
            {"code": "400", "type": "BadRequestError"},
        ),
        ({"error": SECRET, "error_type": "Validation"}, {"type": "Validation"}),
        (
            {"error": {"message": SECRET, "type": "auth_error", "param": "None", "code": "401"}},
            {"code": "401", "type": "auth_error"},
        ),
        (
            [{"error": {"code": 400, "message": SECRET, "status": "INVALID_ARGUMENT"}}],
            {"code": "400", "type": "INVALID_ARGUMENT"},
        ),
        (
            {"detail": [{"type": "extra_forbidden", "loc": ["body", "dimensions"], "msg": SECRET, "input": SECRET}]},
            {"type": "extra_forbidden", "param": "dimensions"},
        ),
        (
            {"object": "error", "message": {"detail": [{"type": "extra_forbidden", "loc": ["body", "dimensions"]}]}},
            {"type": "extra_forbidden", "param": "dimensions"},
        ),
        ({"error": {"message": SECRET, "code": SECRET, "type": f"{SECRET}!", "param": SECRET}}, {}),
        ({"error": {"code": "sk-proj-0123456789abcdef", "type": True, "param": {"a": 1}}}, {}),
        ({"error": SECRET}, {}),
        ({"detail": SECRET}, {}),
        (f"<html>{SECRET}</html>", {}),
        ([], {}),
        (7, {}),
    ],
)
def test_code_type_and_parameter_are_kept_and_no_text(body, details):
    error = error_of(400, body)
    named = {name.removeprefix("provider_"): said for name, said in error.details.items() if "provider" in name}
    assert named == details
    assert all(f"{name} {said}" in error.message for name, said in details.items()), "and the message shows them"
    assert not any(secret in json.dumps(error.to_dict()) for secret in (SECRET, "sk-proj"))


@given(
    st.recursive(
        st.none() | st.text() | st.integers(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["error", "message", "code", "type", "param", "detail", "loc"]), inner)
        ),
    )
)
def test_whatever_the_body_is_only_short_names_are_read(body):
    for said in provider_details(body).values():
        assert len(said) <= 64
        assert not set(said) & set(" \n'\"<>@/")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, {"error": {"message": SECRET, "type": "insufficient_quota", "code": "insufficient_quota"}}),  # OpenAI
        (400, {"error": {"message": SECRET, "code": "billing_hard_limit_reached"}}),  # OpenAI
        (402, {"error": {"message": "Insufficient Balance", "code": "invalid_request_error"}}),  # DeepSeek
        (402, {"error": {"message": SECRET, "code": 402}}),  # OpenRouter
        (400, {"error": {"message": SECRET, "type": "budget_exceeded", "code": "400"}}),  # LiteLLM
        (400, {"error": {"message": SECRET, "type": "Arrearage", "code": "Arrearage"}}),  # DashScope
        (403, {"error": {"message": SECRET, "type": "exceeded_current_quota_error"}}),  # Moonshot
    ],
)
def test_an_account_without_money_is_a_quota_and_waits_whatever_the_status(status, body):
    error = error_of(status, body)
    assert (type(error), error.error_code) == (QuotaExceededError, "QUOTA_EXCEEDED")
    assert "budget" in error.suggestion
    assert SECRET not in json.dumps(error.to_dict())


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, {"error": SECRET}),
        (
            400,
            [{"error": {"code": 400, "message": "API key not valid. Pass one", "status": "INVALID_ARGUMENT"}}],
        ),
        (403, {"message": "Invalid API Key"}),
    ],
)
def test_a_refused_key_is_one_whatever_the_status(status, body):
    error = error_of(status, body)
    assert (type(error), "EMENDO_EMBEDDING_API_KEY" in error.suggestion) == (AuthenticationError, True)


@pytest.mark.parametrize("status", [400, 403, 422])
def test_other_refusals_are_not_taken_for_them(status):
    error = error_of(status, {"error": {"message": "the key of the metadata is not valid", "type": "invalid_request"}})
    assert error.error_code not in ("AUTHENTICATION", "QUOTA_EXCEEDED")
