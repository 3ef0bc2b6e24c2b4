"""The rate limiter's arithmetic, and how admission control and the retry decision use its replies."""

from __future__ import annotations

import random
import sys
from types import SimpleNamespace

import pytest

from emendo_client.errors import ThrottledError
from emendo_config import ConfigurationError, Keys, Settings
from emendo_config.store import scripts
from emendo_ops.doctor.providers import check_rate_limits
from emendo_workers.jobs.retry import decide
from emendo_workers.providers import admission
from emendo_workers.providers.admission import AdmissionControl
from emendo_workers.providers.circuit_breaker import CircuitBreaker
from emendo_workers.providers.rate_limiter import Limits, RateLimiter
from emendo_workers.providers.requests import _worth_a_quick_retry

KEYS = Keys("test:")


def rate_limiter(requests: int | None = None, tokens: int | None = None) -> RateLimiter:
    settings = Settings(embedding_requests_per_minute=requests, embedding_tokens_per_minute=tokens)
    return RateLimiter(KEYS, settings, "openai")


@pytest.mark.parametrize(
    ("one", "other", "lower"),
    [
        (Limits(), Limits(), Limits()),
        (Limits(5, 0), Limits(0, 7), Limits(5, 7)),
        (Limits(5, 9), Limits(8, 7), Limits(5, 7)),
    ],
)
def test_the_lower_limit_counts_and_none_is_the_highest(one, other, lower):
    assert one.lower(other) == other.lower(one) == lower


@pytest.mark.parametrize(
    ("requests", "tokens", "largest"),
    [
        (None, None, sys.maxsize),
        (3_000, None, sys.maxsize),
        (None, 1_000_000, 41_666),  # 2.5 seconds' worth
        (3_000, 1_000_000, 41_666),
        (3, 150_000, 50_000),  # a request's share: few requests must be large ones
        (None, 1, 1),
    ],
)
def test_requests_are_as_large_as_the_bucket_or_a_requests_share(requests, tokens, largest):
    assert rate_limiter(requests, tokens).largest_request == largest


def test_a_limit_the_reply_tells_of_is_kept_in_mind():
    knows = rate_limiter(tokens=1_000_000)
    knows.read_reservation("call", 5, 1.0, [0, 1, 0, 60_000])
    assert knows.largest_request == 2_500


def test_a_short_wait_is_slept_and_a_long_one_refused(monkeypatch):
    replies = {"reply": [0, [250, 1, 0, 0]]}
    slept: list[float] = []
    monkeypatch.setattr(scripts, "run", lambda *_, **more: replies["reply"])
    monkeypatch.setattr(admission, "time", SimpleNamespace(sleep=slept.append))
    control = AdmissionControl(None, CircuitBreaker(KEYS, Settings(), "openai"), rate_limiter(requests=10))
    assert control.admit(5, 1.0).reservation.tokens == 5
    assert slept == [0.25]
    replies["reply"] = [0, [1_001, 0, 0, 0]]
    with pytest.raises(ThrottledError) as refused:
        control.admit(5, 1.0)
    assert refused.value.details == {"retry_after": 1.001}
    assert slept == [0.25]


def test_a_throttled_attempt_comes_back_in_its_turn_and_is_not_counted():
    settings = Settings(retry_base=1.0, retry_max=60.0, max_attempts=5)
    error = ThrottledError("x", details={"retry_after": 12.5})
    delays = set()
    for seed in range(20):
        decision = decide(error, 5, settings, random.Random(seed))
        assert (decision.retry, decision.refund) == (True, True)
        assert 12.5 <= decision.delay <= 13.5
        delays.add(decision.delay)
    assert len(delays) == 20, "jobs that were put aside together must not come back together"
    assert decide(ThrottledError("x", details={"retry_after": 3_600}), 1, settings, random.Random(1)).delay == 60.0
    assert not _worth_a_quick_retry(error)


@pytest.mark.parametrize("name", ["embedding_requests_per_minute", "embedding_tokens_per_minute"])
def test_a_limit_of_none_at_all_is_refused(name, monkeypatch):
    with pytest.raises(ConfigurationError, match=f"EMENDO_{name.upper()}"):
        Settings(**{name: 0})
    monkeypatch.setenv(f"EMENDO_{name.upper()}", "")
    assert getattr(Settings(), name) is None


@pytest.mark.parametrize(
    ("limits", "told", "found"),
    [
        ({}, (0, 0), "no limit, neither set nor told of by the provider"),
        ({"embedding_requests_per_minute": 500}, (0, 0), "500 requests a minute (set)"),
        (
            {"embedding_requests_per_minute": 500},
            (3_000, 1_000_000),
            "500 requests a minute (set), 1,000,000 tokens a minute (the provider's)",
        ),
        ({"embedding_tokens_per_minute": 2_000_000}, (0, 1_000_000), "1,000,000 tokens a minute (the provider's)"),
    ],
)
def test_the_doctor_shows_which_limits_count_and_whose_they_are(limits, told, found):
    finding = check_rate_limits(Settings(**limits), *told, 0.0)
    assert (finding.state, finding.found) == ("ok", found)


def test_the_doctor_says_that_all_workers_pause():
    finding = check_rate_limits(Settings(), 60, 0, 30_000.0)
    assert finding.state == "warn"
    assert finding.found == "60 requests a minute (the provider's); all workers pause for another 30 s"
