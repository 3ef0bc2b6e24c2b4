"""Searches ask the active space, and go on through a switch: right, complete, never a mixture."""

from __future__ import annotations

import array
import asyncio
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import openai
import pytest
from pydantic import SecretStr

from emendo_client import AsyncMemoryClient, MemoryClient
from emendo_client.errors import ConfigurationError, EmbeddingError, VectorStoreError
from emendo_client.testing import Fault
from emendo_config.embedding_space import EmbeddingSpace
from emendo_config.spaces.registry import SpaceState, remove_space, save_space
from emendo_workers.memories.backfill import backfill
from tests.support.intake import added, drain_all
from tests.support.spaces import SMALL, open_space, own_space, right_vector, switch

LIVE = replace(SMALL, state=SpaceState.LIVE)
QUERY = "what does Ana think of number 3"
TEXTS = [f"Ana thinks {number} of {'the sea ' * number} number {number}" for number in range(12)]


@pytest.fixture
def spaces(services, client):
    """Two complete spaces with the same memories; the first one is active."""
    space = open_space(services, LIVE)
    for text in TEXTS:
        client.add(text, user_id="ana", infer=False)
    drain_all(services)
    return own_space(services), space


def ranking(space) -> list[str]:
    question = floats(right_vector(space, QUERY))
    return sorted(TEXTS, key=lambda text: -cosine(question, floats(right_vector(space, text))))


def floats(vector: bytes) -> array.array:
    return array.array("f", vector)


def cosine(one, other) -> float:
    return math.fsum(map(float.__mul__, one, other)) / (math.hypot(*one) * math.hypot(*other))


def found(hits) -> list[str]:
    return [hit.memory for hit in hits]


def test_each_space_gives_its_own_ranking(services, client, spaces):
    first, second = spaces
    assert ranking(first) != ranking(second), "the two could not be told apart"
    assert found(client.search(QUERY, user_id="ana", limit=50)) == ranking(first)
    switch(services, second)
    assert found(client.search(QUERY, user_id="ana", limit=50)) == ranking(second)
    switch(services, first)
    assert found(client.search(QUERY, user_id="ana", limit=50)) == ranking(first)


def test_searches_that_run_all_the_time_see_one_space_or_the_other(services, client, spaces):
    rankings = [ranking(space) for space in spaces]
    seen: list[list[list[str]]] = [[], [], []]
    over = threading.Event()

    def search_all_the_time(mine):
        while not over.is_set():
            mine.append(found(client.search(QUERY, user_id="ana", limit=50)))

    with ThreadPoolExecutor(len(seen)) as threads:
        searchers = [threads.submit(search_all_the_time, mine) for mine in seen]
        for number in range(30):
            before = [len(mine) for mine in seen]
            switch(services, spaces[(number + 1) % 2])
            # Each makes a whole search between two switches: one that meets three of them may give up.
            while min(len(mine) - had for mine, had in zip(seen, before, strict=True)) < 2:
                if any(searcher.done() for searcher in searchers):
                    break
                over.wait(0.001)
        over.set()
        for searcher in searchers:
            searcher.result()
    assert all(each in rankings for mine in seen for each in mine)
    assert all(ranking in mine for mine in seen for ranking in rankings)


def test_the_asyncio_client_goes_on_through_a_switch_too(services, emendo_settings, spaces):
    rankings = [ranking(space) for space in spaces]

    async def search_all_the_time() -> list[list[str]]:
        async with AsyncMemoryClient(emendo_settings) as client:
            seen = []
            for number in range(10):
                switch(services, spaces[number % 2])
                hits = await asyncio.gather(*(client.search(QUERY, user_id="ana", limit=50) for _ in range(4)))
                seen += map(found, hits)
            return seen

    seen = asyncio.run(search_all_the_time())
    assert seen == [ranking for number in range(10) for ranking in [rankings[number % 2]] * 4]


def test_a_space_that_is_gone_after_the_switch_is_not_missed(services, client, spaces):
    first, second = spaces
    client.search(QUERY, user_id="ana")
    switch(services, second)
    services.data.execute_command("FT.DROPINDEX", services.keys.index(first.name))
    remove_space(services.data, services.keys, first.name)
    assert found(client.search(QUERY, user_id="ana", limit=50)) == ranking(second)


def test_a_provider_that_left_with_its_space_is_not_missed(services, client, spaces, monkeypatch):
    client.search("before", user_id="ana")

    def refuse(_):
        raise EmbeddingError("no such model any more")

    monkeypatch.setattr(client._queries._embedder(spaces[0]), "embed", refuse)
    with pytest.raises(EmbeddingError):
        client.search(QUERY, user_id="ana")
    switch(services, spaces[1])
    assert found(client.search(QUERY, user_id="ana", limit=50)) == ranking(spaces[1])


def test_one_question_in_two_spaces_is_two_vectors(services, emendo_settings, spaces, openai_server):
    """A query's vector is remembered for one space."""
    with MemoryClient(emendo_settings.model_copy(update={"embedding_lru_bytes": 1 << 20})) as client:
        for space in (*spaces, *spaces):
            switch(services, space)
            openai_server.clear_requests()
            assert found(client.search(QUERY, user_id="ana", limit=50)) == ranking(space)
        assert not openai_server.requests


def test_a_query_that_cannot_be_embedded_is_asked_once(client, spaces, openai_server):
    openai_server.clear_requests()
    openai_server.faults.add(Fault("bad_request", times=5))
    with pytest.raises(EmbeddingError):
        client.search(QUERY, user_id="ana")
    assert len(openai_server.requests) == 1


def test_a_search_redis_refuses_ends(services, client, spaces, monkeypatch):
    """The registry says that the alias stands for a space, and its index does not have the field."""
    other = replace(LIVE, space=EmbeddingSpace("openai", "text-embedding-3-large", 32, 7))
    monkeypatch.setattr(client, "_look_up_space", lambda: other)
    with pytest.raises(VectorStoreError):
        client.search(QUERY, user_id="ana")


def test_an_alias_of_no_registered_space_is_said_to_be_that(services, client, spaces):
    switch(services, spaces[1])
    remove_space(services.data, services.keys, spaces[1].name)
    with pytest.raises(ConfigurationError, match=r"none of the registered embedding spaces.*emendo doctor"):
        client.search(QUERY, user_id="ana")


@pytest.mark.parametrize(
    ("datatype", "metric", "algorithm"),
    [("float16", "cosine", "flat"), ("float32", "ip", "hnsw"), ("float32", "l2", "flat")],
)
def test_the_same_vectors_indexed_in_another_way(services, client, datatype, metric, algorithm):
    own = own_space(services)
    ids = [added(services, client, text) for text in TEXTS]
    before = client.search(QUERY, user_id="ana", limit=50)
    other = replace(
        own,
        space=replace(own.space, generation=2),
        algorithm=algorithm,
        metric=metric,
        datatype=datatype,
        copy_of=own.name,
    )
    open_space(services, other)
    backfill(services, ids, other)
    save_space(services.data, services.keys, other)
    switch(services, other)
    hits = client.search(QUERY, user_id="ana", limit=50)
    assert found(hits) == found(before), "unit vectors rank the same by each metric"
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)
    if metric != "l2":
        assert scores == pytest.approx([hit.score for hit in before], abs=2e-3)


async def test_who_has_no_provider_settings_sends_the_query_nowhere(settings, client, spaces, monkeypatch):
    for name in ("OpenAI", "AsyncOpenAI"):
        monkeypatch.setattr(openai, name, None)  # a client that nobody can make
    theirs = settings.model_copy(update={"embedding_base_url": "", "embedding_api_key": SecretStr("")})
    says = "neither EMENDO_EMBEDDING_API_KEY .* nor EMENDO_EMBEDDING_BASE_URL is set here"
    with MemoryClient(theirs) as other, pytest.raises(ConfigurationError, match=says):
        other.search(QUERY, user_id="ana")
    async with AsyncMemoryClient(theirs) as other:
        with pytest.raises(ConfigurationError, match=says):
            await other.search(QUERY, user_id="ana")
