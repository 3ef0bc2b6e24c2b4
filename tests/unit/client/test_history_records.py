"""A history holds each text once; readers see the text before each change as well."""

from __future__ import annotations

import pytest

from emendo_client.records.history import history_entries

THEN = "2026-01-01T00:00:00.000000+00:00"


def stored(version: int, event: str = "UPDATE", **fields: str) -> tuple[bytes, dict[bytes, bytes]]:
    known = {"version": str(version), "event": event, "created_at": THEN, "updated_at": THEN, "job_id": f"j{version}"}
    raw = {name.encode(): value.encode() for name, value in {**known, **fields}.items()}
    return f"{version}-0".encode(), raw


def states(*entries):
    found = history_entries("m", entries)
    return [(each.old_memory, each.new_memory, each.old_metadata, each.new_metadata) for each in found]


ADDED = stored(1, "ADD", new_memory="a", new_metadata="{}")
CHANGED = stored(2, new_memory="b", new_metadata='{"k":1}')
DELETED = stored(3, "DELETE", old_memory="b", old_metadata='{"k":1}', is_deleted="1")
RESTORED = stored(4, "RESTORE", new_memory="b", new_metadata='{"k":1}')


def test_the_state_before_is_that_of_the_entry_before():
    assert states(ADDED, CHANGED, DELETED, RESTORED) == [
        (None, "a", None, {}),
        ("a", "b", {}, {"k": 1}),
        ("b", None, {"k": 1}, None),
        ("b", "b", {"k": 1}, {"k": 1}),
    ]


def test_entries_of_an_older_release_are_read_as_they_are():
    older = stored(2, old_memory="x", new_memory="b", old_metadata="{}", new_metadata='{"k":1}')
    assert states(ADDED, older, stored(3, new_memory="c", new_metadata="{}"))[1:] == [
        ("x", "b", {}, {"k": 1}),
        ("b", "c", {"k": 1}, {}),
    ]


def test_after_a_trimmed_part_the_old_text_is_unknown():
    assert states(CHANGED, DELETED)[0] == (None, "b", None, {"k": 1})


def test_a_gap_gives_no_wrong_old_text():
    assert states(ADDED, RESTORED)[1] == (None, "b", None, {"k": 1})


@pytest.mark.parametrize("event", ["UPDATE", "DELETE"])
def test_an_entry_without_content_gets_none(event):
    """An erasure came between two pages: what was read before it stays out of what is read after it."""
    assert states(ADDED, stored(2, event))[1] == (None, None, None, None)


def test_the_text_of_an_entry_is_the_one_that_the_memory_had_then():
    found = history_entries("m", [ADDED, CHANGED, DELETED, RESTORED])
    assert [(each.text, each.metadata) for each in found] == [
        ("a", {}),
        ("b", {"k": 1}),
        ("b", {"k": 1}),
        ("b", {"k": 1}),
    ]
