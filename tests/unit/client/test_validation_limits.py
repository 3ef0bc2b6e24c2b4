"""Input at the limits of what is accepted: exact limits, odd but legal values, refusals that repeat no content."""

from __future__ import annotations

import enum
import json
from collections import UserDict
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType

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
from emendo_config.shards import shard_of

SETTINGS = Settings(max_text_chars=40, max_metadata_bytes=64, max_messages=3)
OPERATIONS, REQUESTS = OperationBuilder(SETTINGS), RequestBuilder("default")
SECRET = "seafood-4711"


class Role(str, enum.Enum):  # noqa: UP042  # the older idiom, with its other str(), is what callers have
    USER = "user"


class Consistency(str, enum.Enum):  # noqa: UP042
    STRONG = "strong"


def requested(build, *given, idempotency_key=None, consistency="eventual", **named):
    documents = build(*given, **named)
    return REQUESTS.request(documents, idempotency_key=idempotency_key, consistency=consistency)


def add(messages="hello", **more):
    return requested(OPERATIONS.add, messages, **{"user_id": "ana", "infer": False, **more})


def update(memory_id="m", **more):
    return requested(OPERATIONS.update, memory_id, **more)


def delete(memory_id="m", **more):
    return requested(OPERATIONS.delete, memory_id, **more)


def restore(memory_id="m", **more):
    return requested(OPERATIONS.restore, memory_id, **more)


def operations(request) -> list[dict]:
    return json.loads(request.payload)["operations"]


def keys_and_arguments(request) -> tuple[list, list]:
    """The KEYS and ARGV with which the job is accepted."""
    _, _, count, *words = request.accept_command(SETTINGS, Keys(), request.shard_in(SETTINGS))
    return words[:count], words[count:]


def fingerprint(request) -> str:
    return keys_and_arguments(request)[1][4]


def nested(levels: int):
    value = "leaf"
    for _ in range(levels):
        value = {"a": value}
    return value


# Limits, from both sides.


def test_text_is_measured_in_characters_not_bytes():
    assert content.text("😀" * 40, "text", SETTINGS) == "😀" * 40
    with pytest.raises(ValidationError, match="text has 41 characters; the limit is 40"):
        content.text("😀" * 41, "text", SETTINGS)


def test_metadata_is_measured_in_utf8_bytes_of_its_json():
    fits = {"a": "é" * 27}  # {"a": ""} is 9 bytes; the é are 2 each
    assert len(json.dumps(fits, ensure_ascii=False).encode()) == 63
    assert content.metadata(fits, SETTINGS, none_removes=True) == fits
    exact = {"a": "é" * 27 + "x"}
    assert content.metadata(exact, SETTINGS, none_removes=True) == exact
    with pytest.raises(ValidationError, match="metadata has 65 bytes as JSON; the limit is 64"):
        content.metadata({"a": "é" * 28}, SETTINGS, none_removes=True)


def test_metadata_may_be_sixteen_levels_deep_and_no_more():
    roomy = Settings()
    assert content.metadata(nested(16), roomy, none_removes=True) == nested(16)
    for too_deep in (nested(17), {"a": [nested(16)]}):
        with pytest.raises(ValidationError, match="deeper than 16 levels"):
            content.metadata(too_deep, roomy, none_removes=True)


def test_metadata_that_holds_itself_is_refused():
    endless: dict = {}
    endless["a"] = [endless]
    with pytest.raises(ValidationError, match="nested deeper"):
        content.metadata(endless, SETTINGS, none_removes=True)


@pytest.mark.parametrize("count", [1, 3])
def test_as_many_messages_as_the_limit_pass(count):
    assert len(conversation([{"role": "user", "content": "m"}] * count, SETTINGS).messages) == count


def test_ids_may_be_exactly_as_long_as_allowed():
    assert validation.memory_id("a" * 128) == "a" * 128
    assert validation.scope_id("ü" * 256, "user_id") == "ü" * 256


@pytest.mark.parametrize(("value", "refused"), [(1, False), (10, False), (0, True), (11, True)])
def test_positive_includes_both_its_ends(value, refused):
    if refused:
        with pytest.raises(ValidationError, match=f"page is {value}; it must be from 1 to 10"):
            validation.positive(value, "page", 10)
    else:
        assert validation.positive(value, "page", 10) == value


@pytest.mark.parametrize("value", [True, False, 1.0, "1", None])
def test_a_page_of_another_type_is_refused(value):
    with pytest.raises(ValidationError, match=f"page is of type {type(value).__name__}; it must be a whole number"):
        validation.positive(value, "page", 10)


# Legal, if unusual.


@pytest.mark.parametrize("value", [None, "a b", "ana@example.org", "a|b{c}*", "用户", "👩‍👩‍👧"])
def test_scope_ids_may_hold_any_visible_text(value):
    assert validation.scope_id(value, "user_id") == value


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"k": [1, 2.5, True, None, "x"]},
        {"deep": {"none": None}},
        {"t": "a\tb\n"},
        {"👩‍👩‍👧": "e\u0301"},
        {"n": 2**63 - 1},
    ],
)
def test_good_metadata_passes_unchanged(value):
    assert content.metadata(value, SETTINGS, none_removes=False) == value


def test_a_tuple_is_a_list_to_json():
    assert operations(update(metadata={"t": (1, (2,))}))[0]["metadata"] == {"t": [1, [2]]}


def test_only_whole_keys_are_identity_keys():
    assert content.metadata({"user": "a", "deep": {"user_id": "b"}}, SETTINGS, none_removes=True)
    with pytest.raises(ValidationError, match="identity keys: actor_id, agent_id, run_id"):
        content.metadata({"run_id": 1, "agent_id": 2, "actor_id": 3}, SETTINGS, none_removes=True)


@pytest.mark.parametrize("wrap", [MappingProxyType, UserDict])
def test_any_mapping_inside_metadata_is_an_object(wrap):
    assert operations(update(metadata={"a": wrap({"b": 1})}))[0]["metadata"] == {"a": {"b": 1}}


def test_a_number_json_cannot_write_is_refused_as_bad_metadata():
    with pytest.raises(ValidationError, match="metadata"):
        content.metadata({"a": 10**5_000}, SETTINGS, none_removes=True)


def test_words_may_come_from_a_string_enum():
    assert [operation["role"] for operation in operations(add({"role": Role.USER, "content": "x"}))] == ["user"]
    assert add(consistency=Consistency.STRONG).consistency == "strong"


@pytest.mark.parametrize("value", ["\u200b", "\ufeff\u2060 ", "\u200d"])
def test_text_without_one_visible_character_is_empty(value):
    with pytest.raises(ValidationError, match="text is empty"):
        content.text(value, "text", SETTINGS)


# Messages.


def test_an_add_keeps_what_people_and_assistants_said_in_order():
    request = add(
        [
            {"role": "system", "content": "be kind"},
            {"role": "user", "content": "one", "name": "ana"},
            {"role": "assistant", "content": "two"},
        ]
    )
    kept = [(item["role"], item["text"], item.get("actor_id")) for item in operations(request)]
    assert kept == [("user", "one", "ana"), ("assistant", "two", None)]
    assert request.items == 2
    assert request.memory_id == ""


def test_a_refused_message_is_named_by_its_place():
    for item, says in (
        ({"role": "user", "content": "\x00"}, r"messages\[1\]\.content has the character U\+0000"),
        ({"role": None, "content": "x"}, r"messages\[1\]\.role is missing"),
        ({"role": "user", "content": "x", "name": " "}, r"messages\[1\]\.name is empty"),
        ({"role": "user", "content": [7]}, r"messages\[1\]\.content\[0\] is of type int"),
    ):
        with pytest.raises(ValidationError, match=says):
            conversation([{"role": "user", "content": "fine"}, item], SETTINGS)


def test_one_bad_message_refuses_the_whole_add():
    with pytest.raises(ValidationError, match=r"messages\[1\]"):
        add([{"role": "user", "content": "good"}, {"role": "system", "content": "\x07"}])


@pytest.mark.parametrize("value", ["no", "false"])
def test_infer_is_true_or_false(value):
    with pytest.raises(ValidationError, match="infer"):
        add(infer=value)


# Refusals.


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: content.text(f"{SECRET}\x00", "text", SETTINGS),
        lambda: content.text(SECRET * 9, "text", SETTINGS),
        lambda: validation.memory_id(f"{SECRET}!"),
        lambda: validation.scope_id(f" {SECRET}", "user_id"),
        lambda: validation.scope_id(SECRET * 30, "user_id"),
        lambda: validation.role(SECRET),
        lambda: validation.one_of(SECRET, "consistency", ("eventual",)),
        lambda: validation.expiry(SECRET),
        lambda: validation.version(SECRET, "version"),
        lambda: content.metadata({SECRET: float("nan")}, SETTINGS, none_removes=True),
        lambda: content.metadata({SECRET: object()}, SETTINGS, none_removes=True),
        lambda: content.metadata({"a": f"{SECRET}\x07"}, SETTINGS, none_removes=True),
        lambda: content.metadata({"a": SECRET * 9}, SETTINGS, none_removes=True),
        lambda: conversation([SECRET], SETTINGS),
        lambda: conversation([{"role": SECRET, "content": "x"}], SETTINGS),
        lambda: conversation([{"role": "user", "content": {SECRET}}], SETTINGS),
        lambda: conversation([{"role": "user", SECRET: "x"}], SETTINGS),
        lambda: update(text="x", on_conflict=SECRET),
        lambda: add(idempotency_key=f"{SECRET}\n"),
    ],
)
def test_a_refusal_never_repeats_what_was_sent(attempt):
    with pytest.raises(ValidationError) as refused:
        attempt()
    assert SECRET not in f"{refused.value} {refused.value.to_dict()} {refused.value!r}"


def test_a_refusal_can_always_be_written_down():
    """A key with a lone surrogate must not make the error itself unprintable."""
    with pytest.raises(ValidationError) as refused:
        conversation([{"role": "user", "\ud800": 1}], SETTINGS)
    assert str(refused.value).encode()


@pytest.mark.parametrize("bad", [True, 0, -3, 1.0, "1"])
def test_every_operation_checks_its_version(bad):
    for attempt in (
        lambda: update(text="x", expected_version=bad),
        lambda: delete(expected_version=bad),
        lambda: restore(version=bad),
    ):
        with pytest.raises(ValidationError, match="version"):
            attempt()


@pytest.mark.parametrize("build", [lambda i: update(i, text="x"), delete, restore])
def test_every_operation_checks_its_memory_id(build):
    with pytest.raises(ValidationError, match="memory_id is malformed"):
        build("{other}")
    assert build("ok_1.2-3").memory_id == "ok_1.2-3"


@pytest.mark.parametrize("key", ["", " k", "a\x00", "x" * 257, 7])
def test_a_bad_idempotency_key_is_refused(key):
    with pytest.raises(ValidationError, match="idempotency_key"):
        update(text="x", idempotency_key=key)


EASTERN = timezone(timedelta(hours=-5))


@pytest.mark.parametrize("value", [datetime.max.replace(tzinfo=EASTERN), "9999-12-31T23:59:59-05:00"])
def test_a_moment_that_has_no_utc_time_is_refused(value):
    with pytest.raises(ValidationError, match="expires_at"):
        validation.expiry(value)


def test_a_moment_is_stored_with_all_its_microseconds():
    assert validation.expiry(datetime(2030, 1, 1, tzinfo=UTC)) == "2030-01-01T00:00:00.000000+00:00"
    assert validation.expiry("2030-01-01T00:00:00.5Z") == "2030-01-01T00:00:00.500000+00:00"


# Requests.


def test_ids_of_new_memories_follow_from_the_job_and_stay_the_same_over_releases():
    request = add([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}])
    ids = [item["memory_id"] for item in operations(request)]
    assert ids == [new_memory_id(request.job_id, 0), new_memory_id(request.job_id, 1)]
    assert request.routing_id == ids[0]
    # A job accepted by one release may be worked by the next.
    assert new_memory_id("job", 0) == "f2de44ab-a01d-58da-b62a-5d915c2ad67d"


def test_only_what_was_given_is_written_down():
    assert operations(update(text="x")) == [{"op": "update", "memory_id": "m", "text": "x"}]
    assert operations(update(metadata={"a": None})) == [{"op": "update", "memory_id": "m", "metadata": {"a": None}}]
    assert operations(delete(actor_id="bob")) == [{"op": "delete", "memory_id": "m", "actor_id": "bob"}]
    assert operations(restore(version=2)) == [{"op": "restore", "memory_id": "m", "version": 2}]
    assert operations(update(text="x", on_conflict="reject"))[0]["on_conflict"] == "reject"


@pytest.mark.parametrize(
    "other",
    [
        lambda key: update(text="y", idempotency_key=key),
        lambda key: update(text="x", metadata={"a": 1}, idempotency_key=key),
        lambda key: update(text="x", actor_id="bob", idempotency_key=key),
        lambda key: update(text="x", expected_version=1, idempotency_key=key),
        lambda key: update(text="x", on_conflict="reject", idempotency_key=key),
        lambda key: update("n", text="x", idempotency_key=key),
        lambda key: delete(idempotency_key=key),
        lambda key: restore(idempotency_key=key),
    ],
)
def test_another_request_has_another_fingerprint(other):
    assert fingerprint(other("k")) != fingerprint(update(text="x", idempotency_key="k"))


def test_the_order_of_metadata_keys_makes_no_other_request():
    one, two = ({"a": 1, "b": 2}, {"b": 2, "a": 1})
    assert fingerprint(update(metadata=one, idempotency_key="k")) == fingerprint(
        update(metadata=two, idempotency_key="k")
    )
    assert fingerprint(update(metadata={"a": 1}, idempotency_key="k")) != fingerprint(
        update(metadata={"a": True}, idempotency_key="k")
    )


def test_without_a_key_there_is_neither_fingerprint_nor_idempotency_record():
    names, values = keys_and_arguments(update(text="x"))
    assert values[4] == ""
    assert len(names) == 6
    names, _ = keys_and_arguments(update(text="x", idempotency_key="k"))
    assert names[6:] == ["emendo:idempotency:7:default:k"]


def test_the_accepting_command_names_the_shard_of_the_memory():
    shard = shard_of("m", SETTINGS)
    request = update(text="x")
    names, values = keys_and_arguments(request)
    assert names[:3] == [f"emendo:job:{request.job_id}", f"emendo:inbox:{shard}", f"emendo:bell:{shard}"]
    assert values[1] == shard


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=6,
)


@given(st.dictionaries(st.text(max_size=3), _json, max_size=3))
def test_metadata_that_passes_survives_json_and_utf8_unchanged(value):
    try:
        checked = content.metadata(value, SETTINGS, none_removes=True)
    except ValidationError:
        return
    document = json.dumps(checked, ensure_ascii=False, allow_nan=False)
    assert json.loads(document.encode().decode()) == value
    assert "\x1f" not in document


class Size(enum.IntEnum):
    SMALL = 5


@pytest.mark.parametrize("huge", [2**63, -(2**63), 10**5_000, -(10**5_000)], ids=["64", "-64", "very", "-very"])
def test_a_number_too_long_to_be_printed_is_refused_like_any_other(huge):
    for check in (lambda: validation.positive(huge, "page", 10), lambda: validation.version(huge, "version")):
        with pytest.raises(ValidationError, match="is beyond 64 bits"):
            check()


def test_an_enum_that_is_a_number_becomes_that_number():
    """redis-py refuses to send any other kind of int."""
    assert type(validation.positive(Size.SMALL, "page_size", 10)) is int
    assert type(validation.version(Size.SMALL, "version")) is int


@pytest.mark.parametrize("check", [validation.job_id, validation.memory_id])
@pytest.mark.parametrize("value", ["", "a b", "a\ud800", "\x00", "x" * 129, "-a", "a/1", None, 7, b"a", []])
def test_an_id_that_cannot_exist_is_refused_before_redis_sees_it(check, value):
    with pytest.raises(ValidationError, match=f"^{check.__name__} is "):
        check(value)
    assert check("4be1e1a2-0000-4000-8000-000000000000") == "4be1e1a2-0000-4000-8000-000000000000"


@pytest.mark.parametrize("project", ["", 0, False, [], " "])
def test_a_client_without_a_project_is_not_a_client_of_the_default_one(project):
    for kind in (MemoryClient, AsyncMemoryClient):
        with pytest.raises(ValidationError, match=r"^project is"):
            kind(SETTINGS, project=project)
        assert kind(SETTINGS).project == "default"
