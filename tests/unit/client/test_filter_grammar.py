"""The reading of filters: three spellings of one tree, limits, and errors that name what is allowed."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from emendo_client.errors import ValidationError
from emendo_client.requests.filtering.conditions import (
    MAX_ALTERNATIVES,
    MAX_CONDITIONS,
    MAX_DEPTH,
    MAX_VALUES,
    OPERATORS,
)
from emendo_client.requests.filtering.grammar import LOGICAL, read
from emendo_client.requests.filtering.nodes import ID_FIELDS, TIME_FIELDS
from emendo_client.requests.filtering.operands import MAX_VALUE_CHARS
from emendo_client.requests.filters import scoped


@pytest.mark.parametrize(
    "spellings",
    [
        [{"metadata": {"k": 1}}, {"metadata.k": 1}, {"metadata": {"k": {"eq": 1}}}, {"k": {"$eq": 1}}],
        [{"metadata": {"k": [1, "a"]}}, {"metadata": {"k": {"in": (1, "a")}}}, {"$and": [{"k": {"$in": [1, "a"]}}]}],
        [{"user_id": {"ne": "u"}}, {"user_id": {"nin": ["u"]}}, {"user_id": {"$ne": "u"}}],
        [
            {"metadata": {"k": {"gte": 1, "lte": 2}}},
            {"metadata": {"k": {"between": [1, 2]}}},
            {"k": {"$between": [1, 2]}},
        ],
        [
            {"metadata": {"topic": "a", "k": {"gt": 1}}},
            {"$and": [{"topic": "a"}, {"k": {"$gt": 1}}]},
            {"topic": "a", "k": {"$gt": 1}},
        ],
        [
            {"AND": [{"role": "user"}, {"run_id": "r"}]},
            {"role": "user", "run_id": "r"},
            {"$and": [{"role": "user"}, {"run_id": "r"}]},
        ],
        [{"OR": [{"role": "user"}, {"run_id": "r"}]}, {"$or": [{"role": "user"}, {"run_id": "r"}]}],
        [{"NOT": {"role": "user"}}, {"NOT": [{"role": "user"}]}, {"$not": {"role": "user"}}],
        [{"AND": [{"agent_id": "*"}]}, {"AND": [{"agent_id": {"exists": True}}]}],
        [
            {"created_at": {"gte": "2026-01-01"}},
            {"created_at": {"gte": date(2026, 1, 1)}},
        ],
        [
            {"created_at": {"gte": "2026-01-01T00:00:00Z"}},
            {"created_at": {"gte": "2026-01-01T02:00:00+02:00"}},
            {"created_at": {"gte": "2026-01-01 00:00"}},
            {"created_at": {"gte": datetime(2026, 1, 1, tzinfo=UTC)}},
            {"created_at": {"gte": 1_767_225_600}},
            {"created_at": {"gte": 1_767_225_600.0}},
            {"created_at": {"gte": 1_767_225_600_000}},
        ],
    ],
)
def test_spellings_of_one_filter_are_one_tree(spellings):
    first, *others = map(read, spellings)
    assert all(other == first for other in others)


def test_a_star_is_a_wildcard_in_mem0s_spelling_only():
    assert read({"agent_id": "*"}) == read({"agent_id": {"eq": "*"}}) == read({"$and": [{"agent_id": "*"}]})
    assert read({"AND": [{"agent_id": {"eq": "*"}}]}) == read({"agent_id": "*"})
    assert read({"OR": [{"metadata": {"k": "*"}}]}) != read({"metadata": {"k": "*"}})


@pytest.mark.parametrize("filters", [{}, {"metadata": {}}])
def test_no_condition_is_no_filter(filters):
    assert read(filters) is None


# A scope inside the filter.


@pytest.mark.parametrize(
    "filters",
    [
        {"user_id": "ana"},
        {"user_id": ["ana", "ben"]},
        {"AND": [{"run_id": "r"}, {"role": "user"}]},
        {"OR": [{"user_id": "ana"}, {"agent_id": "a", "role": "user"}]},
    ],
)
def test_a_filter_that_names_users_agents_or_runs_is_a_scope(filters):
    assert scoped("p", None, None, None, filters, all_users=False).clauses


@pytest.mark.parametrize(
    "filters",
    [
        {"role": "user"},
        {"actor_id": "ana"},
        {"user_id": {"ne": "ana"}},
        {"NOT": [{"user_id": "ana"}]},
        {"AND": [{"user_id": "*"}]},
        {"user_id": {"gte": "a"}},
        {"OR": [{"user_id": "ana"}, {"role": "user"}]},
    ],
)
def test_other_filters_are_none(filters):
    with pytest.raises(ValidationError, match="no scope given"):
        scoped("p", None, None, None, filters, all_users=False)


# Errors.


@pytest.mark.parametrize("name", ["Eq", "$regex", "=", "", "price", "$and"])
@pytest.mark.parametrize("field", ["metadata", "user_id", "created_at"])
def test_an_unknown_operator_is_told_which_there_are(field, name):
    condition = {name: 1}
    with pytest.raises(ValidationError, match="unknown operator") as refused:
        read({"metadata": {"k": condition}} if field == "metadata" else {field: condition})
    path = "; for a key of an object, the path a.b" if field == "metadata" else ""
    assert refused.value.suggestion == f"use {', '.join(OPERATORS)}{path}"


@pytest.mark.parametrize(
    "filters", [{"topic": "food"}, {"and": []}, {"$nor": []}, {"AND": [{"price": 1}]}, {"id": {"$eq": 1}}]
)
def test_an_unknown_field_is_told_which_there_are(filters):
    with pytest.raises(ValidationError, match="unknown field") as refused:
        read(filters)
    for name in (*ID_FIELDS, *TIME_FIELDS, *LOGICAL, "metadata"):
        assert name in refused.value.suggestion


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"metadata": {"k": {"gt": None}}}, "gt is of type NoneType; it must be a number, a string or a time"),
        ({"metadata": {"k": {"lte": True}}}, "lte is of type bool; it must be a number, a string or a time"),
        ({"metadata": {"k": {"gt": [1]}}}, "gt compares with a list"),
        ({"metadata": {"k": {"eq": [1]}}}, "compares with a list"),
        ({"metadata": {"k": {"between": [1]}}}, "between takes a list of two limits"),
        ({"metadata": {"k": {"between": "ab"}}}, "between takes a list of two limits"),
        ({"metadata": {"k": {"exists": 1}}}, "exists takes True or False"),
        ({"metadata": {"k": {"not": 1}}}, "not takes a mapping"),
        ({"metadata": {"k": {"contains": ["a"]}}}, "one string"),
        ({"metadata": {"k": {"contains": ""}}}, "contains is empty"),
        ({"user_id": 5}, "is of type int; it must be a string "),
        ({"user_id": {"gt": None}}, "gt is of type NoneType; it must be a string "),
        ({"metadata": {"k": {}}}, "without an operator"),
        ({"metadata": {"k": {"gt": datetime(2026, 1, 1)}}}, "no time zone"),  # noqa: DTZ001  # on purpose
        ({"metadata": {"k": float("nan")}}, "NaN"),
        ({"metadata": ["k"]}, "not a mapping"),
        ({"created_at": {"gt": "yesterday"}}, "not an ISO-8601 time"),
        ({"created_at": {"gt": True}}, "ISO-8601 string, a datetime"),
        ({"created_at": {"gt": float("inf")}}, "beyond the calendar"),
        ({"created_at": {"gt": 10**18}}, "beyond the calendar"),
        ({"created_at": {"gt": "0001-01-01T00:00:00+14:00"}}, "beyond the calendar"),
        ({"created_at": {"contains": "2026"}}, "contains nothing"),
        ({"user_id": {"gt": 1}}, "must be a string"),
        ({"AND": []}, "AND without a condition"),
        ({"OR": [{}]}, "OR without a condition"),
        ({"NOT": "x"}, "other than a mapping"),
    ],
)
def test_a_condition_that_makes_no_sense_says_why(filters, message):
    with pytest.raises(ValidationError, match=message):
        read(filters)


# Limits.


def nested(depth: int) -> dict:
    made = {"role": "user"}
    for _ in range(depth - 1):
        made = {"AND": [made, {"role": "user"}]}
    return made


def test_a_filter_has_a_largest_depth():
    assert read(nested(MAX_DEPTH)) is not None
    with pytest.raises(ValidationError, match=f"deeper than {MAX_DEPTH} levels"):
        read(nested(MAX_DEPTH + 1))
    negated = {"gt": 1}
    for _ in range(MAX_DEPTH):
        negated = {"not": negated}
    with pytest.raises(ValidationError, match=f"deeper than {MAX_DEPTH} levels"):
        read({"metadata": {"k": negated}})


def test_a_filter_has_a_largest_number_of_conditions():
    most = [{"metadata": {f"k{n}": {"gt": n}}} for n in range(MAX_CONDITIONS)]
    assert read({"OR": most}) is not None
    with pytest.raises(ValidationError, match=f"more than {MAX_CONDITIONS} conditions"):
        read({"OR": [*most, {"role": "user"}]})


def test_a_filter_has_a_largest_number_of_values():
    many = [{"metadata": {f"k{n}": list(range(MAX_ALTERNATIVES))}} for n in range(MAX_VALUES // MAX_ALTERNATIVES)]
    assert read({"OR": many}) is not None
    with pytest.raises(ValidationError, match="more than 1,000 values"):
        read({"OR": [*many, {"role": "user"}]})


def test_a_value_has_a_largest_length():
    assert read({"metadata": {"k" * MAX_VALUE_CHARS: "x" * MAX_VALUE_CHARS}}) is not None
    with pytest.raises(ValidationError, match="the limit is 1024"):
        read({"metadata": {"k": {"in": ["x" * (MAX_VALUE_CHARS + 1)]}}})
    with pytest.raises(ValidationError, match="key of more than 1,024"):
        read({"metadata": {"k" * (MAX_VALUE_CHARS + 1): 1}})
