"""Which failure is tried again, and when; and what the provider's failures are called."""

from __future__ import annotations

import email.utils
import random
import time

import httpx2
import openai
import pytest

from emendo_client.chat import base as chat
from emendo_client.embeddings.base import MALFORMED, checked
from emendo_client.errors import (
    AuthenticationError,
    ConflictError,
    EmbeddingError,
    EmendoError,
    InferenceError,
    MemoryNotFoundError,
    NetworkError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    ValidationError,
    VectorStoreError,
)
from emendo_client.provider_errors import CHAT, EMBEDDING, retry_after_seconds, translate
from emendo_config import Settings
from emendo_workers import retry
from emendo_workers.retry import busy, decide

SETTINGS = Settings(retry_base=1.0, retry_max=60.0, max_attempts=5)
REQUEST = httpx2.Request("POST", "http://127.0.0.1/v1/embeddings")


def rng() -> random.Random:
    return random.Random(7)


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (NetworkError("x"), True),
        (RateLimitError("x"), True),
        (QuotaExceededError("x"), True),
        (VectorStoreError("x"), True),
        (EmbeddingError("x", error_code=MALFORMED), True),
        (EmendoError("x", error_code="UNEXPECTED"), True),
        (InferenceError("x", error_code=chat.MALFORMED), True),
        (InferenceError("x", error_code=chat.REFUSED), False),
        (InferenceError("x", error_code=chat.TRUNCATED), False),
        (InferenceError("x"), False),
        (EmbeddingError("x"), False),
        (AuthenticationError("x"), False),
        (PermissionDeniedError("x"), False),
        (ValidationError("x"), False),
        (ConflictError("x"), False),
        (MemoryNotFoundError("x"), False),
    ],
)
def test_only_what_may_pass_is_tried_again(error, again):
    assert decide(error, 1, SETTINGS, rng()).retry is again
    assert decide(error, SETTINGS.max_attempts, SETTINGS, rng()).retry is False


def test_pauses_grow_within_their_bounds():
    random_numbers = rng()
    for attempt in range(1, SETTINGS.max_attempts):
        ceiling = min(60.0, 2.0 ** (attempt - 1))
        for _ in range(100):
            assert ceiling / 2 <= decide(NetworkError("x"), attempt, SETTINGS, random_numbers).delay <= ceiling


def test_the_providers_wish_is_honoured_up_to_the_longest_pause():
    assert decide(RateLimitError("x", retry_after=20), 1, SETTINGS, rng()).delay == 20
    assert decide(RateLimitError("x", retry_after=9_999), 1, SETTINGS, rng()).delay == 60
    assert decide(QuotaExceededError("x"), 1, SETTINGS, rng()).delay >= 30


def test_waiting_for_a_lock_costs_no_attempt():
    assert busy().refund is True
    assert busy().retry is True


def status_error(status: int, code: str | None = None, **headers: str) -> openai.APIStatusError:
    body = {"message": "private text", "code": code}
    response = httpx2.Response(status, headers=headers, json={"error": body}, request=REQUEST)
    return openai.OpenAI(api_key="x")._make_status_error("private text", body=body, response=response)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, EmbeddingError),
        (401, AuthenticationError),
        (403, PermissionDeniedError),
        (404, EmbeddingError),
        (408, NetworkError),
        (409, NetworkError),
        (422, EmbeddingError),
        (429, RateLimitError),
        (500, NetworkError),
        (502, NetworkError),
        (503, NetworkError),
    ],
)
def test_statuses_have_their_errors_and_their_text_stays_out(status, kind):
    error = translate(status_error(status), EMBEDDING)
    assert type(error) is kind
    assert error.details["status"] == status
    assert "private text" not in str(error.to_dict())


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, chat.REFUSED), (413, chat.REFUSED), (422, chat.REFUSED), (404, "INFERENCE"), (405, "INFERENCE")],
)
def test_a_chat_providers_refusals_are_inference_errors(status, code):
    error = translate(status_error(status), CHAT)
    assert (type(error), error.error_code, error.details["status"]) == (InferenceError, code, status)


@pytest.mark.parametrize(
    ("provider", "setting"), [(EMBEDDING, "EMENDO_EMBEDDING_API_KEY"), (CHAT, "EMENDO_CHAT_API_KEY")]
)
def test_a_refused_key_is_looked_for_in_its_own_setting(provider, setting):
    assert setting in translate(status_error(401), provider).suggestion


def test_connection_troubles_and_nonsense():
    assert translate(openai.APITimeoutError(REQUEST), EMBEDDING).error_code == "PROVIDER_TIMEOUT"
    assert translate(openai.APIConnectionError(request=REQUEST), EMBEDDING).error_code == "PROVIDER_UNREACHABLE"
    assert translate(ValueError("private"), EMBEDDING).error_code == MALFORMED
    assert translate(ValueError("private"), CHAT).error_code == chat.MALFORMED
    assert type(translate(status_error(429, "insufficient_quota"), EMBEDDING)) is QuotaExceededError


def test_retry_after_in_all_its_forms():
    assert retry_after_seconds({"retry-after": "3"}) == 3.0
    assert retry_after_seconds({"retry-after": "1.5"}) == 1.5
    assert retry_after_seconds({"retry-after-ms": "250", "retry-after": "9"}) == 0.25
    assert retry_after_seconds({"retry-after": email.utils.formatdate(time.time() - 10, usegmt=True)}) == 0.0
    assert retry_after_seconds({"retry-after": "soon"}) is None
    assert retry_after_seconds({}) is None


def test_vectors_are_counted_and_measured():
    assert checked([b"\0" * 8], ["a"], 2) == [b"\0" * 8]
    for vectors, says in (([], "0 vectors for 1"), ([b"\0" * 4], "1 dimensions; the index has 2")):
        with pytest.raises(EmbeddingError, match=says) as refused:
            checked(vectors, ["a"], 2)
        assert refused.value.error_code == MALFORMED


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (NetworkError("away"), "transient"),
        (RateLimitError("slower"), "transient"),
        (EmbeddingError("odd", error_code="EMBEDDING_MALFORMED"), "transient"),
        (EmbeddingError("refused"), "permanent"),
        (AuthenticationError("who?"), "permanent"),
        (ConflictError("another version"), "permanent"),
        (EmendoError("boom", error_code="UNEXPECTED"), "unknown"),
    ],
)
def test_every_failure_is_of_one_kind(error, kind):
    assert retry.kind_of(error) == kind


def test_what_nobody_foresaw_is_tried_a_few_times_only():
    settings = Settings(embedding_provider="local", max_attempts=8)
    boom = EmendoError("boom", error_code="UNEXPECTED")
    tried = [retry.decide(boom, attempts, settings, random.Random(1)).retry for attempts in range(1, 5)]
    assert tried == [True, True, False, False]
