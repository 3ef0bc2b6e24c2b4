"""Corners of the retry decision and of what the provider's failures become."""

from __future__ import annotations

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

from emendo_client import errors, provider_errors
from emendo_client.embeddings.base import MALFORMED
from emendo_client.errors import EmbeddingError, NetworkError, QuotaExceededError, RateLimitError
from emendo_client.provider_errors import EMBEDDING, retry_after_seconds, translate
from emendo_config import Settings
from emendo_workers.retry import BUSY_DELAY, busy, decide, is_transient

SETTINGS = Settings(retry_base=0.5, retry_max=30.0, max_attempts=12)
REQUEST = httpx2.Request("POST", "http://127.0.0.1/v1/embeddings", json={"input": "private words"})
NOW = 2_000_000_000.0
TRANSIENT = {
    "NetworkError",
    "RateLimitError",
    "QuotaExceededError",
    "CircuitOpenError",
    "ThrottledError",
    "VectorStoreError",
}


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_is_either_transient_or_final(name):
    assert is_transient(getattr(errors, name)("x")) is (name in TRANSIENT)


def test_the_attempt_before_the_last_is_tried_again_and_the_last_is_not():
    assert decide(NetworkError("x"), 11, SETTINGS, random.Random(1)).retry
    last = decide(NetworkError("x"), 12, SETTINGS, random.Random(1))
    assert (last.retry, last.delay, last.refund) == (False, 0.0, False)


@given(st.integers(1, 11), st.integers())
def test_each_pause_is_in_the_upper_half_of_its_doubling_ceiling(attempts, seed):
    ceiling = min(30.0, 0.5 * 2 ** (attempts - 1))
    decision = decide(NetworkError("x"), attempts, SETTINGS, random.Random(seed))
    assert decision.retry
    assert not decision.refund
    assert ceiling / 2 <= decision.delay <= ceiling


@given(st.integers(1, 11), st.floats(0, allow_nan=False), st.integers())
def test_a_pause_is_never_shorter_than_asked_nor_longer_than_the_longest(attempts, asked, seed):
    delay = decide(RateLimitError("x", retry_after=asked), attempts, SETTINGS, random.Random(seed)).delay
    backoff = min(30.0, 0.5 * 2 ** (attempts - 1)) / 2
    assert max(min(asked, 30.0), backoff) <= delay <= 30.0


@given(st.integers(1, 11), st.integers())
def test_a_used_up_account_is_asked_again_only_after_a_long_pause(attempts, seed):
    assert 15.0 <= decide(QuotaExceededError("x"), attempts, SETTINGS, random.Random(seed)).delay <= 30.0


@pytest.mark.parametrize("attempts", [64, 1_025, 4_999])
def test_pauses_stay_within_bounds_after_very_many_attempts(attempts):
    settings = Settings(max_attempts=5_000, retry_max=30.0)
    assert 15.0 <= decide(NetworkError("x"), attempts, settings, random.Random(1)).delay <= 30.0


def test_jobs_that_failed_together_do_not_come_back_together():
    rng = random.Random(1)
    assert len({decide(NetworkError("x"), 3, SETTINGS, rng).delay for _ in range(100)}) == 100


def test_a_busy_memory_is_tried_again_soon_and_for_free():
    assert (busy().retry, busy().delay, busy().refund) == (True, BUSY_DELAY, True)


# Retry-After.


@pytest.fixture
def frozen(monkeypatch):
    monkeypatch.setattr(provider_errors, "time", SimpleNamespace(time=lambda: NOW))


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
    return httpx2.Response(status, headers=headers, json={"error": {"message": "private words"}}, request=REQUEST)


def test_a_rate_limit_carries_its_pause_status_and_request_id():
    answer = response(429, **{"retry-after": "12", "x-request-id": "req-1"})
    error = translate(
        openai.RateLimitError("private words", response=answer, body={"code": "rate_limit_exceeded"}), EMBEDDING
    )
    assert type(error) is RateLimitError
    assert (error.retry_after, error.details) == (12.0, {"status": 429, "request_id": "req-1", "retry_after": 12.0})


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
        (openai.APITimeoutError(REQUEST), NetworkError, "PROVIDER_TIMEOUT", True),
        (openai.APIConnectionError(request=REQUEST), NetworkError, "PROVIDER_UNREACHABLE", True),
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
            False,
        ),
        (
            openai.PermissionDeniedError("x", response=response(403), body=None),
            errors.PermissionDeniedError,
            "PERMISSION_DENIED",
            False,
        ),
        (openai.APIResponseValidationError(response=response(200), body=None), EmbeddingError, MALFORMED, True),
        (openai.OpenAIError("x"), EmbeddingError, MALFORMED, True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_each_failure_has_one_name_and_one_decision(error, kind, code, again):
    ours = translate(error, EMBEDDING)
    assert (type(ours), ours.error_code) == (kind, code)
    assert decide(ours, 1, SETTINGS, random.Random(1)).retry is again


def test_a_connection_error_names_its_cause_but_not_the_request():
    error = openai.APIConnectionError(message="private words", request=REQUEST)
    error.__cause__ = ConnectionResetError("private words")
    ours = translate(error, EMBEDDING)
    assert "ConnectionResetError" in ours.message
    assert "private" not in f"{ours} {ours.to_dict()}"
