"""Filters: values are parameters, never query text; the project is always there."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emendo_client.errors import ValidationError
from emendo_client.records.derived_fields import MAX_PATH_CHARS, MAX_TAG_CHARS, metadata_tag, metadata_tags
from emendo_client.requests.filtering.conditions import MAX_ALTERNATIVES
from emendo_client.requests.filtering.nodes import ID_FIELDS, TIME_FIELDS
from emendo_client.requests.filters import scoped
from emendo_config.spaces.index import TAG_SEPARATOR
from emendo_config.visible_text import visible
from tests.support.filter_corpus import filters

SAFE = re.compile(r"\((\(*@[a-z_]+:\{\$p\d+(\|\$p\d+)*\}\)* )+@is_deleted:\{0\} -@expires_ms:\[-inf \d+\]\)")
ids = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=40).filter(
    lambda value: value == value.strip() and value == visible(value) and value
)


@given(ids, ids, st.dictionaries(ids, ids | st.integers(-(2**63) + 1, 2**63 - 1) | st.booleans(), max_size=3))
def test_no_value_ever_reaches_the_query_text(user_id, role, metadata):
    wanted = scoped("p", user_id, None, None, {"role": [role], "metadata": metadata}, all_users=False)
    assert SAFE.fullmatch(wanted.expression(0))
    assert wanted.parameters[:4] == ["p0", "p", "p1", user_id.replace("\\", "\\\\")]


TIME_LIMIT = re.compile(
    r"@(created|updated)_at [<>]=? '\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00'|exists\(@(created|updated)_at\)"
)
CLAUSES = re.compile(r"(@[a-z_]+:(\{\$p\d+(\|\$p\d+)*\}|\[(-inf|\$p\d+) (\+inf|\$p\d+)\])|[()|\- ])*")


@given(filters)
def test_nor_does_a_value_of_any_operator(wanted):
    made = scoped("p", "ana", None, None, wanted, all_users=False)
    assert CLAUSES.fullmatch(made.clauses_only)
    assert made.clauses_only.startswith("@project:{$p0} @user_id:{$p1}")
    assert made.parameters[::2] == [f"p{number}" for number in range(len(made.parameters) // 2)]
    assert all(TIME_LIMIT.fullmatch(limit) for limit in made.time_limits)


def test_the_project_comes_first_even_without_a_scope():
    wanted = scoped("tenant", None, None, None, None, all_users=True)
    assert wanted.expression(0).startswith("(@project:{$p0} ")
    assert wanted.parameters == ["p0", "tenant"]


@pytest.mark.parametrize(
    "filters",
    [
        {"project": "other"},
        {"memory": "x"},
        {"user_id": None},
        {"user_id": []},
        {"user_id": ["a"] * 101},
        {"metadata": "x"},
        {"metadata": {1: "x"}},
        {"metadata": {"a": {"deep": 1}}},
        {"metadata": {"a": "x" * 2_000}},
        ["user_id"],
    ],
)
def test_a_filter_that_does_not_exist_is_refused(filters):
    with pytest.raises(ValidationError, match="filters"):
        scoped("p", "ana", None, None, filters, all_users=False)


def test_reading_everyone_must_be_said():
    with pytest.raises(ValidationError, match="all_users=True"):
        scoped("p", None, None, None, None, all_users=False)
    with pytest.raises(ValidationError, match="all_users"):
        scoped("p", None, None, None, None, all_users="yes")


# Everything the query language gives a meaning to, and some that it does not.
hostile = st.text(st.sampled_from("ab0 *|(){}[]@$:-\"'\\,;~%=>\U0001f600é"), min_size=1, max_size=12).filter(
    lambda value: value == value.strip()
)
END = re.compile(r" @is_deleted:\{0\} -@expires_ms:\[-inf \d+\]\)")


def shape(expression: str) -> str:
    assert END.search(expression)
    return END.sub("", expression)


@given(st.lists(hostile, min_size=8, max_size=8))
def test_the_expression_is_the_same_whatever_the_values(values):
    project, user, agent, run, *roles, key, value = values
    filters = {"role": roles, "metadata": {key: value}}
    wanted = scoped(project, user, agent, run, filters, all_users=False)
    assert shape(wanted.expression(0)) == (
        "(@project:{$p0} @user_id:{$p1} @agent_id:{$p2} @run_id:{$p3} ((@role:{$p4|$p5}) (@metadata_tags:{$p6}))"
    )
    escaped = [given.replace("\\", "\\\\") for given in (project, user, agent, run, *roles, metadata_tag(key, value))]
    assert wanted.parameters[::2] == [f"p{number}" for number in range(7)]
    assert wanted.parameters[1::2] == escaped


@pytest.mark.parametrize("all_users", [True, False])
def test_the_project_is_required_of_every_read(all_users):
    wanted = scoped("tenant", "ana", None, None, {"user_id": "ben"}, all_users=all_users)
    assert shape(wanted.expression(0)) == "(@project:{$p0} @user_id:{$p1} (@user_id:{$p2})"
    assert wanted.parameters[1] == "tenant"


@pytest.mark.parametrize("field", ["project", "Project", "memory", "is_deleted", "expires_ms", "id", "", "*", 7, None])
def test_only_the_listed_fields_can_be_filtered_on(field):
    with pytest.raises(ValidationError, match="unknown field") as refused:
        scoped("p", "ana", None, None, {field: "x"}, all_users=False)
    assert all(name in refused.value.suggestion for name in (*ID_FIELDS, *TIME_FIELDS))


@pytest.mark.parametrize("field", ID_FIELDS)
@pytest.mark.parametrize("values", [[], None, [None], ["a", None], ["a"] * (MAX_ALTERNATIVES + 1)])
def test_ids_are_one_to_a_hundred_and_never_none(field, values):
    with pytest.raises(ValidationError, match="needs 1 to 100 values, none of them None"):
        scoped("p", "ana", None, None, {field: values}, all_users=False)


@pytest.mark.parametrize("field", ["metadata", "created_at"])
@pytest.mark.parametrize("values", [[], ["2026-01-01"] * (MAX_ALTERNATIVES + 1)])
def test_other_values_are_one_to_a_hundred(field, values):
    with pytest.raises(ValidationError, match="needs 1 to 100 values"):
        scoped(
            "p",
            "ana",
            None,
            None,
            {"metadata": {"k": values}} if field == "metadata" else {field: values},
            all_users=False,
        )


@pytest.mark.parametrize("kind", [list, tuple, set, frozenset])
def test_a_hundred_alternatives_pass_in_any_collection(kind):
    values = kind(str(number) for number in range(MAX_ALTERNATIVES))
    wanted = scoped("p", "ana", None, None, {"run_id": values}, all_users=False)
    assert wanted.clauses[2].count("$") == MAX_ALTERNATIVES
    assert set(wanted.parameters[5::2]) == set(values)


def test_every_metadata_key_must_hold():
    wanted = scoped("p", "ana", None, None, {"metadata": {"a": 1, "b": [True, "x"]}}, all_users=False)
    assert shape(wanted.expression(0)) == (
        "(@project:{$p0} @user_id:{$p1} ((@metadata_tags:{$p2|$p3}) (@metadata_tags:{$p4|$p5}))"
    )
    assert wanted.parameters[5::2] == ["a=1", "a=1.0", "b=true", 'b="x"']


@pytest.mark.parametrize("value", ["", " x", "x" * 257, "a\x1fb", "\ud800", 7, b"x"])
def test_a_filter_value_no_id_can_have_is_refused(value):
    with pytest.raises(ValidationError, match=r"filters\['actor_id'\]"):
        scoped("p", "ana", None, None, {"actor_id": [value]}, all_users=False)


@pytest.mark.parametrize(
    "value",
    ["\ud800", b"x", object(), 10**5_000, {"a": 1}, [["a"]], [{"a": 1}], "x" * 1_100],
    ids=["surrogate", "bytes", "object", "huge", "mapping", "list", "list-of-mappings", "long"],
)
def test_a_metadata_value_no_tag_can_carry_is_refused(value):
    with pytest.raises(ValidationError, match="filters"):
        scoped("p", "ana", None, None, {"metadata": {"k": value}}, all_users=False)


def test_a_metadata_key_no_memory_can_have_is_refused():
    with pytest.raises(ValidationError, match="filters"):
        scoped("p", "ana", None, None, {"metadata": {"\ud800": "x"}}, all_users=False)


@pytest.mark.parametrize("value", [None, 0, 1, "True", []])
def test_all_users_must_be_said_with_a_boolean(value):
    with pytest.raises(ValidationError, match=r"all_users is of type .*; it must be True or False"):
        scoped("p", "ana", None, None, None, all_users=value)


# Tags.


@pytest.mark.parametrize(
    ("value", "tag"),
    [("x", 'k="x"'), ("", 'k=""'), (1, "k=1"), (1.5, "k=1.5"), (True, "k=true"), ("1", 'k="1"'), ("ü", 'k="ü"')],
)
def test_a_tag_tells_types_apart(value, tag):
    assert metadata_tag("k", value) == tag


@pytest.mark.parametrize(
    ("metadata", "tags"),
    [
        ({"k": None}, ["k=null"]),
        ({"k": []}, ["k="]),
        ({"k": ["a", 1, None, ["b"]]}, ["k=", 'k="a"', "k=1", "k=null", 'k="b"']),
        ({"k": {"a": 1, "b": {"c": [2]}}}, ["k=", "k.a=", "k.a=1", "k.b=", "k.b.c=", "k.b.c=2"]),
        ({"k": [{"a": 1}, {"a": 2}], "k.a": 1}, ["k=", "k.a=", "k.a=1", "k.a=2"]),
    ],
)
def test_lists_and_objects_have_a_tag_for_each_value_inside(metadata, tags):
    assert metadata_tags(metadata).split(TAG_SEPARATOR) == tags


def test_a_long_key_does_not_repeat_itself_in_each_tag():
    key = "k" * (MAX_PATH_CHARS + 1)
    assert len(metadata_tags({key: list(range(1_000))})) < 50 * 1_000
    assert metadata_tag(key, 1) != metadata_tag(f"{key}k", 1)
    assert metadata_tag("k" * MAX_PATH_CHARS, 1) == f"{'k' * MAX_PATH_CHARS}=1"


def test_a_tag_may_be_exactly_as_long_as_the_limit():
    longest = "x" * (MAX_TAG_CHARS - len('k=""'))
    assert len(metadata_tag("k", longest)) == MAX_TAG_CHARS
    assert metadata_tag("k", longest + "x") is None


scalars = st.text(st.sampled_from('a="\\'), max_size=4) | st.booleans() | st.integers(-2, 2)


@given(st.text(st.sampled_from('a="\\'), max_size=4), scalars, st.text(st.sampled_from('a="\\'), max_size=4), scalars)
def test_no_two_pairs_share_a_tag(key, value, other_key, other_value):
    same = (key, repr(value)) == (other_key, repr(other_value))
    assert (metadata_tag(key, value) == metadata_tag(other_key, other_value)) is same


def test_a_tag_never_begins_with_white_space_which_the_index_would_drop():
    keys = [" k", "\tk", "\u2003k", '" k"', "k", '"']
    tags = [metadata_tag(key, 1) for key in keys]
    assert all(tag == tag.strip() for tag in tags)
    assert len(set(tags)) == len(keys)
