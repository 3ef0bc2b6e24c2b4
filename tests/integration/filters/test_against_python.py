"""Filters find what plain Python finds: random filters over random metadata, on a real Redis."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from emendo_client.errors import ValidationError
from emendo_client.exchanges import candidates, memories
from tests.model.effort import effort
from tests.support.filter_corpus import filters
from tests.support.filter_oracle import meets

QUERY = "fact 7"


@pytest.mark.slow
def test_a_filter_admits_what_plain_python_admits(client, corpus):
    ranking = [hit.id for hit in client.search(QUERY, all_users=True, limit=1_000)]
    assert set(ranking) == set(corpus)

    @effort(250, deep=20_000)
    @given(filters)
    def agree(wanted: dict[str, Any]) -> None:
        expected = {memory.id for memory in corpus.values() if meets(memory, wanted)}
        page = client.get_all(all_users=True, filters=wanted, page_size=1_000)
        assert {memory.id for memory in page.results} == expected
        assert page.total == client.count(all_users=True, filters=wanted) == len(expected)
        assert [hit.id for hit in client.search(QUERY, all_users=True, filters=wanted, limit=1_000)] == [
            memory_id for memory_id in ranking if memory_id in expected
        ]

    agree()


def test_the_nearest_that_a_filter_admits_are_found_however_far_they_are(client, corpus, monkeypatch):
    """The first look at the nearest few seldom has them."""
    monkeypatch.setattr(memories, "_MORE_NEIGHBOURS", 1)
    ranking = [hit.id for hit in client.search(QUERY, all_users=True, limit=1_000)]
    least = max(corpus.values(), key=lambda memory: ranking.index(memory.id))
    for wanted in (
        {"created_at": {"gte": least.created_at, "lte": least.created_at}},
        {"created_at": {"ne": least.created_at}},
        {"metadata": {"n": {"gte": 0}}},
        {"metadata": {"k": {"icontains": "A"}}},
    ):
        expected = [each for each in ranking if meets(corpus[each], wanted)]
        assert len(expected) > 1
        found = [hit.id for hit in client.search(QUERY, all_users=True, filters=wanted, limit=2)]
        assert found == expected[:2]


def test_pages_of_a_filter_are_whole_and_in_order(client, corpus):
    wanted = {"updated_at": {"gt": "2024-05-01"}}
    expected = {memory.id for memory in corpus.values() if meets(memory, wanted)}
    seen = []
    for number in range(1, 100):
        page = client.get_all(all_users=True, filters=wanted, page=number, page_size=7)
        seen += page.results
        assert page.total == len(expected)
        if not page.has_next:
            break
    assert {memory.id for memory in seen} == expected
    assert len(seen) == len(expected) > 7
    assert [memory.created_at for memory in seen] == sorted((memory.created_at for memory in seen), reverse=True)


@pytest.mark.parametrize("order", ["-created_at", "updated_at"])
def test_a_cursor_reads_all_that_a_filter_finds_once(client, corpus, order):
    wanted = {"updated_at": {"gt": "2024-05-01"}, "metadata": {"nothing": {"not": {"gt": 0}}}}
    expected = {memory.id for memory in corpus.values() if meets(memory, wanted)}
    found = [each.id for each in client.iter_all(all_users=True, filters=wanted, order=order, page_size=4)]
    assert set(found) == expected
    assert len(found) == len(expected) > 8


def test_a_cursor_belongs_to_one_filter(client, corpus):
    def wanted(day: int) -> dict[str, Any]:
        return {"created_at": {"gt": f"2024-04-{day}"}}

    cursor = client.get_all(all_users=True, filters=wanted(10), page_size=4).next_cursor
    assert client.get_all(all_users=True, filters=wanted(10), page_size=4, cursor=cursor).results
    with pytest.raises(ValidationError, match="cursor"):
        client.get_all(all_users=True, filters=wanted(11), page_size=4, cursor=cursor)


def test_what_would_look_at_too_many_memories_is_refused_and_says_what_to_do(client, corpus, monkeypatch):
    monkeypatch.setattr(candidates, "_PAGE", 10)
    monkeypatch.setattr(candidates, "MAX_CANDIDATES", 40)
    wanted = {"metadata": {"k": {"not": {"gt": 0}}}}
    with pytest.raises(ValidationError, match="more than 40 memories") as refused:
        client.get_all(all_users=True, filters=wanted)
    assert refused.value.error_code == "FILTER_TOO_BROAD"
    assert "user_id" in refused.value.suggestion
    expected = {memory.id for memory in corpus.values() if memory.user_id == "ben" and meets(memory, wanted)}
    assert {memory.id for memory in client.get_all("ben", filters=wanted).results} == expected
