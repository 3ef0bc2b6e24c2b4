"""An HNSW index gives what a filter admits too, however few of the nearest it admits."""

from __future__ import annotations

import pytest

from emendo_client.exchanges import memories
from tests.support.filter_oracle import meets


@pytest.fixture
def settings(emendo_settings):
    return emendo_settings.model_copy(update={"index_algorithm": "hnsw"})


def test_the_few_that_a_filter_admits_are_found_in_an_hnsw_index(client, corpus, monkeypatch):
    monkeypatch.setattr(memories, "_MORE_NEIGHBOURS", 1)
    least = min(corpus.values(), key=lambda memory: memory.created_at)
    for wanted in ({"created_at": {"lte": least.created_at}}, {"metadata": {"n": {"lt": 2}}}, {"user_id": ["ben"]}):
        expected = {memory.id for memory in corpus.values() if meets(memory, wanted)}
        hits = client.search("fact 7", all_users=True, filters=wanted, limit=len(expected))
        assert {hit.id for hit in hits} == expected
        assert expected
