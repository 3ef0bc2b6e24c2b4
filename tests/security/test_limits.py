"""The bounds of what callers and providers send: sizes, depths, numbers, headers, answers, redirects."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from emendo_client.errors import (
    EmbeddingError,
    InferenceError,
    NetworkError,
    RateLimitError,
    ValidationError,
)
from emendo_client.providers.chat.answers import read_answer
from emendo_client.providers.chat.base import Usage
from emendo_client.providers.openai_errors import retry_after_seconds
from emendo_client.providers.rate_limit_headers import LONGEST_PAUSE, parse_duration, read_rate_limits
from emendo_config.visible_text import HIDDEN
from emendo_workers.inference.prompts.extract import ExtractedFacts
from tests.security.raw_provider import EVERY_WAY, GOOD, SAID, VECTOR, chat, embed, failure, serving, settings_of

# Answers of any length.


@EVERY_WAY
@pytest.mark.parametrize("more", [{}, {"content_length": str(2 << 30)}], ids=["without end", "two gigabytes"])
@pytest.mark.parametrize("status", [200, 500])
def test_an_answer_without_end_is_cut_off(provider, ask, more, status):
    provider.answer = lambda handler: handler.say_without_end(status, b" " * 65_536, **more)
    error = failure(ask, settings_of(provider))
    assert isinstance(error, EmbeddingError | InferenceError)
    assert "the provider's answer has more than" in error.message


@EVERY_WAY
@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_small_answer_that_unpacks_to_a_large_one_is_cut_off(provider, ask, coding):
    pack = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16 if coding == "gzip" else zlib.MAX_WBITS)
    bomb = b"".join(pack.compress(b" " * (1 << 20)) for _ in range(16)) + pack.flush()
    assert len(bomb) < 1 << 17
    provider.answer = lambda handler: handler.say(200, bomb, content_encoding=coding)
    assert "the provider's answer has more than" in failure(ask, settings_of(provider)).message


@EVERY_WAY
@pytest.mark.parametrize("coding", ["gzip", "x-gzip"])
def test_a_packed_answer_of_usual_size_is_read(provider, ask, coding):
    body = SAID if ask is chat else GOOD
    provider.answer = lambda handler: handler.say(200, gzip.compress(body), content_encoding=coding)
    assert ask(settings_of(provider))


@EVERY_WAY
@pytest.mark.parametrize("coding", ["br", "gzip, gzip", "zstd"])
def test_a_coding_that_nobody_asked_for_is_refused(provider, ask, coding):
    provider.answer = lambda handler: handler.say(200, gzip.compress(gzip.compress(GOOD)), content_encoding=coding)
    error = failure(ask, settings_of(provider))
    assert (type(error), "Content-Encoding" in error.suggestion) == (NetworkError, True)


@EVERY_WAY
def test_an_answer_that_trickles_ends_with_the_time_of_a_request(provider, ask):
    provider.answer = lambda handler: handler.say_without_end(200, b" ", pause=0.01)
    error = failure(ask, settings_of(provider, embedding_timeout=0.1, chat_timeout=0.1))
    assert error.error_code == "PROVIDER_TIMEOUT"


# Redirects.


@EVERY_WAY
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_texts_and_keys_follow_no_redirect(provider, ask, status):
    with serving() as thief:
        location = f"{thief.url.replace('127.0.0.1', 'localhost')}/collect?key=abc"
        provider.answer = lambda handler: handler.say(status, b"", location=location)
        error = failure(ask, settings_of(provider))
        assert (thief.asked, len(provider.asked)) == ([], 1)
    assert f"answered {status} and redirects to localhost;" in error.message
    assert "abc" not in f"{error} {error.details}"


@pytest.mark.parametrize(
    "location", ["", "/other", "http://[", "javascript:alert(1)", "http://a\u00adb/" + "x" * 9_000]
)
def test_a_redirect_to_anything_is_an_error_like_another(provider, location):
    provider.answer = lambda handler: handler.say(302, b"", location=location.encode().decode("latin-1"))
    error = failure(embed, settings_of(provider))
    assert isinstance(error, NetworkError)
    assert len(error.message) < 400
    assert not HIDDEN.search(error.message)


# The content of answers.


@EVERY_WAY
@pytest.mark.parametrize(
    "body",
    [b"[" * 200_000, b'{"a":' * 200_000, b'{"data": ' + b"1" * 10_000 + b"}"],
    ids=["lists", "objects", "number"],
)
def test_an_answer_of_any_depth_is_malformed(provider, ask, body):
    provider.answer = lambda handler: handler.say(200, body)
    assert failure(ask, settings_of(provider)).error_code in ("EMBEDDING_MALFORMED", "INFERENCE_MALFORMED")


@pytest.mark.parametrize("tokens", [10**30, -5])
def test_counts_beyond_reason_reach_no_counter(provider, tokens):
    usage = {"total_tokens": tokens, "prompt_tokens": tokens, "completion_tokens": tokens}
    provider.answer = lambda handler: handler.say(200, json.dumps({**json.loads(SAID), "usage": usage}).encode())
    answer = chat(settings_of(provider))
    assert 0 <= answer.prompt_tokens <= 10**9
    provider.answer = lambda handler: handler.say(200, json.dumps({**json.loads(GOOD), "usage": usage}).encode())
    assert 0 <= embed(settings_of(provider)).tokens <= 10**9


def test_more_vectors_than_texts_are_not_built(provider):
    many = [{"index": place, "embedding": VECTOR} for place in range(1_000)]
    provider.answer = lambda handler: handler.say(200, json.dumps({"data": many}).encode())
    assert "more vectors than texts" in failure(embed, settings_of(provider)).message


@pytest.mark.parametrize(
    "content",
    [
        '{"a":1} x ' * 1_000 + "y" * 400_000,
        "[ # " * 100_000,
        "[" * 400_000,
        '["x ' * 100_000,
        "<think " * 60_000,
        '{"facts":' * 40_000,
    ],
    ids=["values", "comments", "brackets", "strings", "thoughts", "depth"],
)
def test_reading_a_long_answer_of_nothing_comes_to_an_end(content):
    """Each took from a second to minutes for 400 kB, and hours for some megabytes."""
    with pytest.raises(InferenceError):
        read_answer({"choices": [{"message": {"content": content}}]}, ExtractedFacts, Usage(), partly=True)


# Headers.


@pytest.mark.parametrize("text", ["1h" * 8_000, "9" * 16_000, "1" * 16_000 + "x", "1s" + " " * 100 + "1s"])
def test_a_long_header_is_not_searched_for_its_parts(text):
    assert parse_duration(text) is None
    limits = read_rate_limits({"x-ratelimit-reset-tokens": text, "x-ratelimit-limit-tokens": text})
    assert limits.tokens.reset is None


@pytest.mark.parametrize("value", ["inf", "1e400", "9" * 30, "9" * 16_000, "Fri, 31 Dec 9999 23:59:59 -2359"])
@pytest.mark.parametrize("name", ["retry-after", "retry-after-ms"])
def test_no_provider_asks_for_a_pause_without_end(provider, name, value):
    assert retry_after_seconds({name: value}) in (None, LONGEST_PAUSE)
    provider.answer = lambda handler: handler.say(429, b"{}", **{name.replace("-", "_"): value})
    error = failure(embed, settings_of(provider))
    assert isinstance(error, RateLimitError)
    assert (error.retry_after or 0.0) <= LONGEST_PAUSE


@pytest.mark.parametrize("value", ["nan", "(" * 16_000, "", "Mon, " * 3_000, "x"])
def test_a_pause_that_is_none_is_left_out(value):
    assert retry_after_seconds({"retry-after": value}) is None


def test_the_longest_duration_is_bounded():
    assert parse_duration("9" * 60) == parse_duration("9" * 50 + "h") == LONGEST_PAUSE


def test_an_id_of_the_provider_is_short_and_visible_in_the_details(provider):
    provider.answer = lambda handler: handler.say(500, b"{}", x_request_id="\x9b" + "r" * 9_000)
    details = failure(embed, settings_of(provider)).details
    assert 0 < len(details["request_id"]) <= 128
    assert not HIDDEN.search(details["request_id"])


# Callers.


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"k": value}
    return value


def shared(depth: int) -> Any:
    """A few lists that stand for millions of values."""
    value: Any = [0] * 10
    for _ in range(depth):
        value = [value] * 10
    return value


def conditions(depth: int) -> Any:
    value: Any = {"role": "user"}
    for _ in range(depth):
        value = {"AND": [value]}
    return value


FILTERS = {
    "depth": conditions(8),
    "recursion": conditions(5_000),
    "operators": {"metadata": {"k": {"not": {"not": nested(5_000)}}}},
    "conditions": {"OR": [{"role": "user"}] * 101},
    "alternatives": {"metadata": {"k": list(range(101))}},
    "many alternatives": {"metadata": {"k": [1] * 1_000_000}},
    "a set": {"metadata": {"k": set(range(100_000))}},
    "values": {"AND": [{"metadata": {"k": list(range(100))}} for _ in range(11)]},
    "a value": {"metadata": {"k": "x" * 1_025}},
    "a path": {"metadata": {"k" * 1_025: 1}},
    "an id": {"user_id": "x" * 257},
    "a part": {"metadata": {"k": {"contains": "x" * 1_025}}},
    "a number": {"metadata": {"k": {"gte": 10**30}}},
    "infinity": {"metadata": {"k": {"gte": float("inf")}}},
    "no number": {"metadata": {"k": float("nan")}},
    "a time": {"created_at": {"gte": 10**400}},
    "an early time": {"created_at": {"gte": -(10**18)}},
    "a name": {"x" * 10_000_000: 1},
}


@pytest.mark.parametrize("filters", FILTERS.values(), ids=FILTERS)
def test_a_filter_beyond_the_limits_is_refused(client, filters):
    for read in (client.get_all, client.count):
        with pytest.raises(ValidationError) as caught:
            read("ana", filters=filters)
        assert len(str(caught.value)) < 1_000


LATE = datetime.max.replace(tzinfo=timezone(timedelta(hours=-23)))
CALLS: dict[str, Callable[[Any], Any]] = {
    "a search limit": lambda client: client.search("x", user_id="u", limit=1_001),
    "a search limit of 0": lambda client: client.search("x", user_id="u", limit=0),
    "a huge limit": lambda client: client.search("x", user_id="u", limit=10**5_000),
    "a page size": lambda client: client.get_all("u", limit=1_001),
    "a page": lambda client: client.get_all("u", page=10**7),
    "a huge page": lambda client: client.get_all("u", page=2**64),
    "a version": lambda client: client.restore("m", version=2**63),
    "a huge version": lambda client: client.restore("m", version=10**5_000),
    "a negative version": lambda client: client.restore("m", version=-1),
    "an expected version": lambda client: client.update("m", "x", expected_version=10**30),
    "dead letters": lambda client: client.dead_letters(limit=10**9),
    "conflicts": lambda client: client.conflicts(limit=10**9),
    "jobs": lambda client: client.jobs(limit=10**9),
    "a late date": lambda client: client.add("x", user_id="u", expires_at=LATE),
    "a late text": lambda client: client.add("x", user_id="u", expires_at="9999-12-31T23:59:59-23:59"),
    "a year": lambda client: client.add("x", user_id="u", expires_at="10000-01-01T00:00:00Z"),
    "depth": lambda client: client.add("x", user_id="u", metadata=nested(17)),
    "recursion": lambda client: client.add("x", user_id="u", metadata=nested(50_000)),
    "values that share lists": lambda client: client.add("x", user_id="u", metadata={"k": shared(12)}),
    "keys": lambda client: client.add("x", user_id="u", metadata={f"k{n}": n for n in range(10_000)}),
    "infinity": lambda client: client.add("x", user_id="u", metadata={"k": float("1e999")}),
    "no number": lambda client: client.add("x", user_id="u", metadata={"k": [float("nan")]}),
    "a large number": lambda client: client.add("x", user_id="u", metadata={"k": 2**63}),
    "a huge number": lambda client: client.add("x", user_id="u", metadata={"k": 10**5_000}),
    "a text": lambda client: client.add("x" * 32_001, user_id="u"),
    "messages": lambda client: client.add([{"role": "user", "content": "x"}] * 1_001, user_id="u"),
    "a conversation": lambda client: client.add([{"role": "user", "content": "x" * 32_000}] * 32, user_id="u"),
    "an id": lambda client: client.add("x", user_id="u" * 257),
    "an idempotency key": lambda client: client.add("x", user_id="u", idempotency_key="k" * 257),
    "a memory id": lambda client: client.get("m" * 129),
    "a cursor": lambda client: client.get_all("u", cursor="A" * 5_000),
    "a deep cursor": lambda client: client.get_all("u", cursor="W" * 4_000),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_call_beyond_the_limits_is_refused_and_nothing_is_enqueued(client, services, call):
    with pytest.raises(ValidationError) as caught:
        call(client)
    assert len(str(caught.value)) < 1_000
    assert services.control.exists(services.keys.jobs(client.project)) == 0


def test_what_is_within_the_limits_is_taken(client):
    client.add("x" * 32_000, user_id="u" * 256, idempotency_key="k" * 256, metadata=nested(16), infer=False)
    client.add([{"role": "user", "content": "x" * 31_250}] * 32, user_id="u")
    client.add("x", user_id="u", expires_at=datetime(9999, 1, 1, tzinfo=UTC), metadata={"k": 2**63 - 1})
