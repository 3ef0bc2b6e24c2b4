"""Filters: values are parameters, never query text; the project is always there."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emendo_client.errors import ValidationError
from emendo_client.filters import scoped

SAFE = re.compile(r"\((@[a-z_]+:\{\$p\d+(\|\$p\d+)*\} )+@is_deleted:\{0\} -@expires_ms:\[-inf \d+\]\)")
ids = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=40).filter(
    lambda value: value == value.strip() and value
)


@given(ids, ids, st.dictionaries(ids, ids | st.integers(-(2**63) + 1, 2**63 - 1) | st.booleans(), max_size=3))
def test_no_value_ever_reaches_the_query_text(user_id, role, metadata):
    wanted = scoped("p", user_id, None, None, {"role": [role], "metadata": metadata}, all_users=False)
    assert SAFE.fullmatch(wanted.expression)
    assert wanted.parameters[:4] == ["p0", "p", "p1", user_id.replace("\\", "\\\\")]


def test_the_project_comes_first_even_without_a_scope():
    wanted = scoped("tenant", None, None, None, None, all_users=True)
    assert wanted.expression.startswith("(@project:{$p0} ")
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
        {"metadata": {"a": None}},
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
