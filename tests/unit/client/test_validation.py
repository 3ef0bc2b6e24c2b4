"""Bad input is refused before anything is enqueued, with what was wrong and never with the content."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emendo_client import AsyncMemoryClient, MemoryClient
from emendo_client.errors import ValidationError
from emendo_client.requests import content, validation
from emendo_client.requests.jobs import RequestBuilder
from emendo_client.requests.messages import conversation
from emendo_client.requests.operations import OperationBuilder, new_memory_id
from emendo_config import Keys, Settings

SETTINGS = Settings()
Colour = Enum("Colour", ["RED"])
OPERATIONS, REQUESTS = OperationBuilder(SETTINGS), RequestBuilder("default")


def requested(build, *given, idempotency_key=None, consistency="eventual", **named):
    documents = build(*given, **named)
    return REQUESTS.request(documents, idempotency_key=idempotency_key, consistency=consistency)


def add(messages, **more):
    return requested(OPERATIONS.add, messages, **{"user_id": "ana", "infer": False, **more})


def update(memory_id="m", **more):
    return requested(OPERATIONS.update, memory_id, **more)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        (" \n\t ", "is empty"),
        ("x" * 32_001, "32001 characters; the limit is 32000"),
        ("nul \x00", "U+0000 at position 4"),
        ("escape \x1b[31m", "U+001B"),
        ("c1 \x85", "U+0085"),
        ("lone \ud83d", "U+D83D"),
        (None, "is empty|type NoneType"),
        (b"bytes", "type bytes"),
        (7, "type int"),
    ],
)
def test_a_bad_text_is_refused(text, says):
    with pytest.raises(ValidationError, match=says.replace("+", r"\+")) as refused:
        content.text(text, "text", SETTINGS)
    if isinstance(text, str) and text.strip():
        assert text not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    ["👩‍👩‍👧‍👦", "e\u0301", "a\tb\nc\r\n", "عربى", "x" * 32_000, "\U0010ffff", '"\\{}'],
    ids=["zwj emoji", "combining", "white space", "arabic", "at the limit", "last code point", "quotes"],
)
def test_a_good_text_passes_unchanged(text):
    assert content.text(text, "text", SETTINGS) == text


@pytest.mark.parametrize("memory_id", ["", " ", "a b", "{a}", "a" * 129, "-a", "a\n", "ä", "a:b", None, 7])
def test_a_malformed_memory_id_is_refused(memory_id):
    with pytest.raises(ValidationError, match="memory_id"):
        validation.memory_id(memory_id)


@pytest.mark.parametrize("value", ["", " ana", "ana ", "a\x1fb", "a\nb", "\ud800", "x" * 257, 7, b"a", ["a"]])
def test_a_bad_scope_id_is_refused(value):
    with pytest.raises(ValidationError, match="user_id"):
        validation.scope_id(value, "user_id")


@pytest.mark.parametrize(
    "metadata",
    [
        [],
        "text",
        {1: "a"},
        {"": 1},
        {"a": float("nan")},
        {"a": float("inf")},
        {"a": {1, 2}},
        {"a": b"bytes"},
        {"a": datetime.now(UTC)},
        {"a": "lone \udc00"},
        {"lone \udc00": 1},
        {"a": ["\x00"]},
        {"a": "x" * 16_384},
        {"user_id": "ben"},
        {"project": "other"},
        {"id": "x"},
    ],
)
def test_bad_metadata_is_refused(metadata):
    with pytest.raises(ValidationError, match="metadata"):
        content.metadata(metadata, SETTINGS, none_removes=False)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (datetime(2026, 1, 1, tzinfo=UTC), "is of type datetime.*isoformat"),
        (np.int64(3), "is of type int64.*tolist"),
        (np.bool_(True), r"is of type numpy\.bool.*tolist"),
        ({1}, "is of type set.*give a list"),
        (SETTINGS, r"is of type Settings.*model_dump"),
        (Colour.RED, "is of type Colour.*give its value"),
        (Decimal(1), r"is of type Decimal.*str\(value\)"),
    ],
)
def test_a_value_that_json_does_not_have_comes_with_advice(value, says):
    with pytest.raises(ValidationError) as refused:
        content.metadata({"k": value}, SETTINGS, none_removes=False)
    assert re.search(says, str(refused.value))


def test_metadata_nested_too_deeply_is_refused():
    deep: dict = {}
    for _ in range(30):
        deep = {"a": deep}
    with pytest.raises(ValidationError, match="nested deeper"):
        content.metadata(deep, SETTINGS, none_removes=False)


def test_none_removes_a_key_in_updates_and_is_dropped_in_adds():
    assert content.metadata({"a": None, "b": 1}, SETTINGS, none_removes=True) == {"a": None, "b": 1}
    assert content.metadata({"a": None, "b": (1, 2)}, SETTINGS, none_removes=False) == {"b": [1, 2]}


@pytest.mark.parametrize(
    ("messages", "says"),
    [(7, "type int"), (b"x", "type bytes"), ([{"role": "user", "content": "x"}] * 1_001, "the limit is 1000")],
)
def test_bad_messages_are_refused(messages, says):
    with pytest.raises(ValidationError, match=says):
        conversation(messages, SETTINGS)


def test_a_string_and_a_mapping_are_one_message():
    expected = [{"role": "user", "content": "hello"}]
    assert conversation("hello", SETTINGS).messages == expected
    assert conversation({"role": "user", "content": "hello"}, SETTINGS).messages == expected


@pytest.mark.parametrize("value", [True, 0, -1, 1.5, "1"])
def test_a_version_is_a_whole_number_from_1(value):
    with pytest.raises(ValidationError, match="expected_version"):
        validation.version(value, "expected_version")


def test_expiry_needs_a_time_zone_and_is_stored_in_utc():
    assert validation.expiry("2030-01-01T12:00:00+02:00") == "2030-01-01T10:00:00.000000+00:00"
    for bad in ("tomorrow", datetime(2030, 1, 1), 7):  # noqa: DTZ001  # that is the point
        with pytest.raises(ValidationError, match="expires_at"):
            validation.expiry(bad)


def test_add_needs_a_scope_and_update_something_to_do():
    with pytest.raises(ValidationError, match="no scope"):
        add("hello", user_id=None)
    with pytest.raises(ValidationError, match="nothing to update"):
        update()
    with pytest.raises(ValidationError, match="on_conflict"):
        update(text="x", on_conflict="fight")
    with pytest.raises(ValidationError, match="consistency"):
        update(text="x", consistency="psychic")


def test_new_memories_are_named_after_their_job():
    request = add([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])
    for index in range(2):
        assert new_memory_id(request.job_id, index) in request.payload
    assert new_memory_id("j", 0) == new_memory_id("j", 0) != new_memory_id("j", 1)


def keys_and_arguments(request) -> tuple[list, list]:
    """The KEYS and ARGV with which the job is accepted."""
    _, _, count, *words = request.accept_command(SETTINGS, Keys(), request.shard_in(SETTINGS))
    return words[:count], words[count:]


def fingerprint(request) -> str:
    return keys_and_arguments(request)[1][4]


def test_the_fingerprint_tells_requests_apart_and_not_their_jobs():
    keyed = {"idempotency_key": "k"}
    assert fingerprint(add("a", **keyed)) == fingerprint(add("a", **keyed))
    assert fingerprint(add("a", **keyed)) != fingerprint(add("b", **keyed))
    assert fingerprint(add("a", **keyed)) != fingerprint(add("a", **keyed, user_id="ben"))
    assert fingerprint(update(text="a", **keyed)) != fingerprint(update("n", text="a", **keyed))


@given(st.text())
def test_whatever_the_text_it_passes_whole_or_is_refused(text):
    broken = any((ord(c) < 32 and c not in "\t\n\r") or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000 for c in text)
    visible = any(unicodedata.category(c) not in ("Zs", "Zl", "Zp", "Cc", "Cf") for c in text)
    if broken or not visible:
        with pytest.raises(ValidationError, match=r"^text "):
            content.text(text, "text", SETTINGS)
    else:
        assert content.text(text, "text", SETTINGS) == text


@pytest.mark.parametrize("client", [MemoryClient, AsyncMemoryClient])
@pytest.mark.parametrize("value", ["redis://:hush@127.0.0.1:6379/0", "", {"redis_url": "redis://h"}, Settings])
def test_a_client_is_made_with_settings_and_nothing_else(client, value):
    with pytest.raises(ValidationError) as refused:
        client(value)
    assert refused.value.message == f"settings is of type {type(value).__name__}; it must be Settings"
    assert "Settings(redis_url=…)" in str(refused.value.suggestion)
