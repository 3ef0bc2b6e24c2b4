"""The page of compatibility is what the tables of the tests say."""

from __future__ import annotations

from docs import generate_compatibility


def test_the_page_is_fresh():
    assert generate_compatibility.PAGE.read_text(encoding="utf-8") == generate_compatibility.page()
