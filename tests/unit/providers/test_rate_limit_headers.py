"""A provider's limits in its headers, from any server, and however badly written."""

from __future__ import annotations

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emendo_client.providers.rate_limit_headers import parse_duration, read_rate_limits
from emendo_client.rate_limits import Allowance, RateLimitState


def test_openais_own_example_is_read():
    headers = httpx2.Headers(
        {
            "X-RateLimit-Limit-Requests": "60",
            "X-RateLimit-Limit-Tokens": "150000",
            "X-RateLimit-Remaining-Requests": "59",
            "X-RateLimit-Remaining-Tokens": "149984",
            "X-RateLimit-Reset-Requests": "1s",
            "X-RateLimit-Reset-Tokens": "6m0s",
        }
    )
    assert read_rate_limits(headers) == RateLimitState(Allowance(60, 59, 1.0), Allowance(150_000, 149_984, 360.0))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("120ms", 0.12),
        ("8.64s", 8.64),
        ("1h2m3.5s", 3_723.5),
        ("2m59.56s", 179.56),
        ("1d2h", 93_600.0),
        ("250us", 0.00025),
        ("250µs", 0.00025),
        ("7ns", 7e-9),
        (".5s", 0.5),
        ("30", 30.0),
        ("0", 0.0),
        ("0s", 0.0),
        (" 2s ", 2.0),
        ("", None),
        ("soon", None),
        ("-1s", None),
        ("1s ago", None),
        ("1", 1.0),
        ("s", None),
        ("1x", None),
        ("nan", None),
        ("inf", None),
        ("2026-11-24T00:00:00Z", None),
    ],
)
def test_durations_are_read_in_all_their_forms(text, seconds):
    assert parse_duration(text) == (None if seconds is None else pytest.approx(seconds))


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_what_go_writes_is_what_is_read(hours, minutes, seconds, milliseconds):
    text = f"{hours}h{minutes}m{seconds}.{milliseconds:03}s"
    assert parse_duration(text) == pytest.approx(hours * 3_600 + minutes * 60 + seconds + milliseconds / 1_000)


@given(st.text())
def test_no_text_breaks_the_reading(text):
    headers = {f"x-ratelimit-{part}-{what}": text for part in ("limit", "remaining", "reset") for what in ("requests",)}
    allowance = read_rate_limits(headers).requests
    assert allowance.limit is None or allowance.limit >= 1
    assert allowance.remaining is None or allowance.remaining >= 0
    assert allowance.reset is None or allowance.reset >= 0


@pytest.mark.parametrize(
    ("value", "limit"), [("0", None), ("-1", None), ("", None), ("many", None), ("9" * 40, 10**12)]
)
def test_a_limit_that_is_none_is_not_taken_for_one(value, limit):
    assert read_rate_limits({"x-ratelimit-limit-tokens": value}).tokens.limit == limit


def test_what_is_not_said_is_none():
    assert read_rate_limits({}) == RateLimitState()
    assert read_rate_limits({"x-ratelimit-remaining-requests": "0"}).requests == Allowance(remaining=0)


def test_what_is_used_up_is_there_again_after_the_longest_reset():
    assert RateLimitState().exhausted_for is None
    assert RateLimitState(Allowance(60, 1, 9.0), Allowance(60, 0, 5.0)).exhausted_for == 5.0
    assert RateLimitState(Allowance(60, 0, 9.0), Allowance(60, 0, 5.0)).exhausted_for == 9.0
    assert RateLimitState(Allowance(60, 0, None)).exhausted_for is None
