"""String formats that stores of earlier releases hold: they are as they were, and what is built is parsed back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emendo_config.store import formats

WORDS = st.text(st.characters(codec="ascii", exclude_characters=":,+"), min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("built", "stored"),
    [
        (formats.woken_by("a-job"), "rung:a-job"),
        (formats.drain_owner("worker", 3), "drain:worker:3"),
        (formats.chunk_id("job", 12), "job:12"),
        (formats.planned_item("7", 2), "7.2"),
        (formats.applied_id("job", None), "job"),
        (formats.applied_id("job", 0), "job:0"),
        (formats.applied_id("job", "7.2"), "job:7.2"),
        (formats.delayed_member("bulk-3", "job:12"), "bulk-3:job:12"),
        (formats.conflict_id("memory", "job:7.2"), "memory:job:7.2"),
        (formats.applied_value("UPDATE", 4), "UPDATE:4"),
        (formats.applied_value("UPDATE", 4, is_disputed=True), "UPDATE+conflict:4"),
        (formats.version_entry_id(4), "4-0"),
        (formats.spaces_value({"b", "a"}), "a,b"),
        (formats.grace_key("job", 9), "grace:job:9"),
    ],
)
def test_a_format_is_what_a_running_store_holds(built, stored):
    assert built == stored


@given(WORDS, st.text(max_size=8))
def test_an_id_of_two_parts_is_taken_apart_at_its_first_colon(first, second):
    assert formats.split_conflict_id(formats.conflict_id(first, second)) == (first, second)
    assert formats.split_delayed_member(formats.delayed_member(first, second)) == (first, second)


@given(WORDS, st.integers(0, 10**9))
def test_a_chunk_knows_its_job_and_its_number(job_id, number):
    record_id = formats.chunk_id(job_id, number)
    assert (formats.job_of(record_id), formats.chunk_of(record_id)) == (job_id, str(number))
    assert (formats.job_of(job_id), formats.chunk_of(job_id)) == (job_id, "")


@given(WORDS, st.integers(1, 10**9), st.booleans())
def test_an_applied_value_is_parsed_back(event, version, is_disputed):
    value = formats.applied_value(event, version, is_disputed=is_disputed)
    assert formats.parse_applied(value) == (event, version, is_disputed)


@given(st.frozensets(WORDS))
def test_a_list_of_spaces_is_read_back(names):
    assert formats.listed_spaces(formats.spaces_value(names)) == names
