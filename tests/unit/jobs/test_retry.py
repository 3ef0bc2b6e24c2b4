"""Which failure is tried again, and when; and what the provider's failures are called."""

from __future__ import annotations

import array
import email.utils
import math
import random
import time
from datetime import UTC, datetime
from email.utils import format_datetime
from types import SimpleNamespace

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emendo_client import errors
from emendo_client.errors import (
    AuthenticationError,
    ConfigurationError,
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
from emendo_client.providers import openai_errors
from emendo_client.providers.embeddings.base import checked
from emendo_client.providers.openai_errors import CHAT, EMBEDDING, retry_after_seconds, translate
from emendo_config import Settings
from emendo_config.error_codes import ErrorCode
from emendo_workers.jobs import retry
from emendo_workers.jobs.retry import BUSY_DELAY, busy, decide, is_transient

SETTINGS = Settings(retry_base=1.0, retry_max=60.0, max_attempts=5)
REQUEST = httpx2.Request("POST", "http://127.0.0.1/v1/embeddings")


def rng() -> random.Random:
    return random.Random(7)


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (NetworkError("x"), True),
        (RateLimitError("x"), True),
        (VectorStoreError("x"), True),
        (EmbeddingError("x", error_code=ErrorCode.EMBEDDING_MALFORMED), True),
        (EmendoError("x", error_code="UNEXPECTED"), True),
        (InferenceError("x", error_code=ErrorCode.INFERENCE_MALFORMED), True),
        (InferenceError("x", error_code=ErrorCode.INFERENCE_REFUSED), False),
        (InferenceError("x", error_code=ErrorCode.INFERENCE_TRUNCATED), False),
        (InferenceError("x"), False),
        (EmbeddingError("x"), False),
        (ValidationError("x"), False),
        (ConflictError("x"), False),
        (MemoryNotFoundError("x"), False),
    ],
)
def test_only_what_may_pass_is_tried_again(error, again):
    assert decide(error, 1, SETTINGS, rng()).retry is again
    assert decide(error, SETTINGS.max_attempts, SETTINGS, rng()).retry is False


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationError("x"),
        PermissionDeniedError("x"),
        ConfigurationError("x", error_code=ErrorCode.PROVIDER_MISSING),
        ConfigurationError("x", error_code=ErrorCode.PROVIDER_REFUSES),
        ConfigurationError("x", error_code=ErrorCode.SPACES_UNREADABLE),
    ],
    ids=lambda error: error.error_code,
)
@pytest.mark.parametrize("attempts", [1, SETTINGS.max_attempts, 10 * SETTINGS.max_attempts])
def test_a_fault_of_the_worker_never_ends_a_job_and_costs_no_attempt(error, attempts):
    decision = decide(error, attempts, SETTINGS, rng())
    assert (decision.retry, decision.refund) == (True, True)
    assert SETTINGS.lease / 2 <= decision.delay <= SETTINGS.lease


def test_pauses_grow_within_their_bounds():
    random_numbers = rng()
    for attempt in range(1, SETTINGS.max_attempts):
        ceiling = min(60.0, 2.0 ** (attempt - 1))
        for _ in range(100):
            assert ceiling / 2 <= decide(NetworkError("x"), attempt, SETTINGS, random_numbers).delay <= ceiling


def test_the_providers_wish_is_honoured_up_to_the_longest_pause():
    assert decide(RateLimitError("x", retry_after=20), 1, SETTINGS, rng()).delay == 20
    assert decide(RateLimitError("x", retry_after=9_999), 1, SETTINGS, rng()).delay == 60
    decision = decide(QuotaExceededError("x"), 10 * SETTINGS.max_attempts, SETTINGS, rng())
    assert (decision.retry, decision.refund, decision.delay >= 30) == (True, True, True)


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
    [
        (400, ErrorCode.INFERENCE_REFUSED),
        (413, ErrorCode.INFERENCE_REFUSED),
        (422, ErrorCode.INFERENCE_REFUSED),
        (404, "INFERENCE"),
        (405, "INFERENCE"),
    ],
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
    assert translate(ValueError("private"), EMBEDDING).error_code == ErrorCode.EMBEDDING_MALFORMED
    assert translate(ValueError("private"), CHAT).error_code == ErrorCode.INFERENCE_MALFORMED
    assert type(translate(status_error(429, "insufficient_quota"), EMBEDDING)) is QuotaExceededError


def test_retry_after_in_all_its_forms():
    assert retry_after_seconds({"retry-after": "3"}) == 3.0
    assert retry_after_seconds({"retry-after": "1.5"}) == 1.5
    assert retry_after_seconds({"retry-after-ms": "250", "retry-after": "9"}) == 0.25
    assert retry_after_seconds({"retry-after": email.utils.formatdate(time.time() - 10, usegmt=True)}) == 0.0
    assert retry_after_seconds({"retry-after": "soon"}) is None
    assert retry_after_seconds({}) is None


def test_vectors_are_counted_and_measured():
    whole = array.array("f", [0.0, 0.5]).tobytes()
    assert checked([whole], ["a"], 2) == [whole]
    for vectors, says in (
        ([], "0 vectors for 1"),
        ([whole[4:]], "gives vectors of 1 dimensions, but 2 are asked for"),
        ([whole[:5]], "no float32 vector"),
        ([b""], "is empty"),
        ([bytes(8)], "all zeros"),
        ([array.array("f", [-0.0, 1e-40]).tobytes()], "all zeros"),
        ([array.array("f", [math.inf, 1]).tobytes()], "infinite"),
    ):
        with pytest.raises(EmbeddingError, match=says) as refused:
            checked(vectors, ["a"], 2)
        assert refused.value.error_code == ErrorCode.EMBEDDING_MALFORMED


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


QUICK_RETRIES = Settings(retry_base=0.5, retry_max=30.0, max_attempts=12)
PRIVATE_REQUEST = httpx2.Request("POST", "http://127.0.0.1/v1/embeddings", json={"input": "private words"})
NOW = 2_000_000_000.0
TRANSIENT = {
    "NetworkError",
    "RateLimitError",
    "QuotaExceededError",
    "CircuitOpenError",
    "ThrottledError",
    "TransientError",
    "VectorStoreError",
}


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_is_either_transient_or_final(name):
    assert is_transient(getattr(errors, name)("x")) is (name in TRANSIENT)


def test_the_attempt_before_the_last_is_tried_again_and_the_last_is_not():
    assert decide(NetworkError("x"), 11, QUICK_RETRIES, random.Random(1)).retry
    last = decide(NetworkError("x"), 12, QUICK_RETRIES, random.Random(1))
    assert (last.retry, last.delay, last.refund) == (False, 0.0, False)


@given(st.integers(1, 11), st.integers())
def test_each_pause_is_in_the_upper_half_of_its_doubling_ceiling(attempts, seed):
    ceiling = min(30.0, 0.5 * 2 ** (attempts - 1))
    decision = decide(NetworkError("x"), attempts, QUICK_RETRIES, random.Random(seed))
    assert decision.retry
    assert not decision.refund
    assert ceiling / 2 <= decision.delay <= ceiling


@given(st.integers(1, 11), st.floats(0, allow_nan=False), st.integers())
def test_a_pause_is_never_shorter_than_asked_nor_longer_than_the_longest(attempts, asked, seed):
    delay = decide(RateLimitError("x", retry_after=asked), attempts, QUICK_RETRIES, random.Random(seed)).delay
    backoff = min(30.0, 0.5 * 2 ** (attempts - 1)) / 2
    assert max(min(asked, 30.0), backoff) <= delay <= 30.0


@given(st.integers(1, 11), st.integers())
def test_a_used_up_account_is_asked_again_only_after_a_long_pause(attempts, seed):
    assert 15.0 <= decide(QuotaExceededError("x"), attempts, QUICK_RETRIES, random.Random(seed)).delay <= 30.0


@pytest.mark.parametrize("attempts", [64, 1_025, 4_999])
def test_pauses_stay_within_bounds_after_very_many_attempts(attempts):
    settings = Settings(max_attempts=5_000, retry_max=30.0)
    assert 15.0 <= decide(NetworkError("x"), attempts, settings, random.Random(1)).delay <= 30.0


def test_jobs_that_failed_together_do_not_come_back_together():
    rng = random.Random(1)
    assert len({decide(NetworkError("x"), 3, QUICK_RETRIES, rng).delay for _ in range(100)}) == 100


def test_a_busy_memory_is_tried_again_soon_and_for_free():
    assert (busy().retry, busy().delay, busy().refund) == (True, BUSY_DELAY, True)


# Retry-After.


@pytest.fixture
def frozen(monkeypatch):
    monkeypatch.setattr(openai_errors, "time", SimpleNamespace(time=lambda: NOW))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "-3"}, 0.0),
        ({"Retry-After": " 7 "}, 7.0),
        ({"Retry-After-Ms": "1500"}, 1.5),
        ({"Retry-After-Ms": "soon", "Retry-After": "2"}, 2.0),
        ({"Retry-After-Ms": "soon"}, None),
        ({"Retry-After": "in a while"}, None),
        ({"Retry-After": "Wed, 18 May 2033"}, None),
        ({"Retry-After": "Wed, 18 May 2033 03:34:20 GMT"}, 60.0),
        ({"Retry-After": "Wed, 18 May 2033 05:34:20 +0200"}, 60.0),
        ({"Retry-After": "Wednesday, 18-May-33 03:34:20 GMT"}, 60.0),
        ({"Retry-After": "Wed, 18 May 2033 03:32:20 GMT"}, 0.0),
        ({"Retry-After": "Thu, 99 May 2033 03:34:20 GMT"}, None),
    ],
)
def test_retry_after_in_every_form(frozen, headers, seconds):
    assert format_datetime(datetime.fromtimestamp(NOW, UTC), usegmt=True) == "Wed, 18 May 2033 03:33:20 GMT"
    assert retry_after_seconds(httpx2.Headers(headers)) == seconds


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
def test_the_oldest_form_of_an_http_date_is_utc_wherever_the_worker_stands(frozen, monkeypatch, zone):
    """RFC 9110, section 5.6.7: all three forms must be understood, and all are in UTC."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert retry_after_seconds({"retry-after": "Wed May 18 03:34:20 2033"}) == 60.0
    finally:
        monkeypatch.undo()
        time.tzset()


@given(
    st.text(max_size=30)
    | st.from_regex(r"[A-Z][a-z]{2}, [0-9]{1,2} [A-Z][a-z]{2} [0-9]{1,5} [0-9:]{1,8} (GMT|-0000|\+9999)")
)
def test_whatever_the_header_says_it_is_a_pause_or_nothing(value):
    seconds = retry_after_seconds({"retry-after": value})
    assert seconds is None or seconds >= 0


# The provider's failures.


def response(status: int, **headers: str) -> httpx2.Response:
    return httpx2.Response(
        status, headers=headers, json={"error": {"message": "private words"}}, request=PRIVATE_REQUEST
    )


def test_a_rate_limit_carries_its_pause_status_and_request_id():
    answer = response(429, **{"retry-after": "12", "x-request-id": "req-1"})
    error = translate(
        openai.RateLimitError("private words", response=answer, body={"code": "rate_limit_exceeded"}), EMBEDDING
    )
    assert type(error) is RateLimitError
    said = {"status": 429, "request_id": "req-1", "provider_code": "rate_limit_exceeded", "retry_after": 12.0}
    assert (error.retry_after, error.details) == (12.0, said)


def test_an_account_that_is_used_up_is_no_mere_rate_limit():
    error = translate(
        openai.RateLimitError("x", response=response(429), body={"code": "insufficient_quota"}), EMBEDDING
    )
    assert (type(error), error.details["status"]) == (QuotaExceededError, 429)


@pytest.mark.parametrize("body", [None, "nonsense", ["nonsense"], {"code": None}, {"code": 7}])
def test_a_rate_limit_with_an_odd_body_is_still_one(body):
    assert type(translate(openai.RateLimitError("x", response=response(429), body=body), EMBEDDING)) is RateLimitError


@pytest.mark.parametrize(
    ("error", "kind", "code", "again"),
    [
        (openai.APITimeoutError(PRIVATE_REQUEST), NetworkError, "PROVIDER_TIMEOUT", True),
        (openai.APIConnectionError(request=PRIVATE_REQUEST), NetworkError, "PROVIDER_UNREACHABLE", True),
        (openai.InternalServerError("x", response=response(503), body=None), NetworkError, "PROVIDER_FAILING", True),
        (openai.APIStatusError("x", response=response(599), body=None), NetworkError, "PROVIDER_FAILING", True),
        (openai.ConflictError("x", response=response(409), body=None), NetworkError, "PROVIDER_FAILING", True),
        (openai.APIStatusError("x", response=response(408), body=None), NetworkError, "PROVIDER_FAILING", True),
        (openai.BadRequestError("x", response=response(400), body=None), EmbeddingError, "EMBEDDING", False),
        (openai.NotFoundError("x", response=response(404), body=None), EmbeddingError, "EMBEDDING", False),
        (openai.APIStatusError("x", response=response(413), body=None), EmbeddingError, "EMBEDDING", False),
        (
            openai.AuthenticationError("x", response=response(401), body=None),
            errors.AuthenticationError,
            "AUTHENTICATION",
            True,
        ),
        (
            openai.PermissionDeniedError("x", response=response(403), body=None),
            errors.PermissionDeniedError,
            "PERMISSION_DENIED",
            True,
        ),
        (
            openai.APIResponseValidationError(response=response(200), body=None),
            EmbeddingError,
            ErrorCode.EMBEDDING_MALFORMED,
            True,
        ),
        (openai.OpenAIError("x"), EmbeddingError, ErrorCode.EMBEDDING_MALFORMED, True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_each_failure_has_one_name_and_one_decision(error, kind, code, again):
    ours = translate(error, EMBEDDING)
    assert (type(ours), ours.error_code) == (kind, code)
    assert decide(ours, 1, QUICK_RETRIES, random.Random(1)).retry is again


def test_a_connection_error_names_its_cause_but_not_the_request():
    error = openai.APIConnectionError(message="private words", request=PRIVATE_REQUEST)
    error.__cause__ = ConnectionResetError("private words")
    ours = translate(error, EMBEDDING)
    assert "ConnectionResetError" in ours.message
    assert "private" not in f"{ours} {ours.to_dict()}"
