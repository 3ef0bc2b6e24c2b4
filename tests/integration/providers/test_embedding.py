"""From texts to vectors: what is kept is not asked for, what is asked for at once is asked together."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from emendo_client.errors import NetworkError
from emendo_client.records.derived_fields import text_hash
from emendo_client.testing.openai_server.faults import Fault
from emendo_workers.providers.meter import Meter
from emendo_workers.providers.micro_batcher import FULL_REQUEST, MicroBatcher
from emendo_workers.providers.pipeline import EmbeddingPipeline
from emendo_workers.providers.vector_cache import VectorCache
from emendo_workers.services import Services
from emendo_workers.store import Store
from tests.support.intake import added, drain
from tests.support.patience import PATIENCE


def pipeline(services: Services, **more) -> EmbeddingPipeline:
    """One worker's pipeline; another call is another worker's."""
    settings = services.settings.model_copy(
        update={"embedding_lru_bytes": 1 << 20, "embedding_cache_ttl": 60, "embedding_cache_bytes": 1 << 20, **more}
    )
    cache = VectorCache(replace(services.store, settings=settings))
    return EmbeddingPipeline(services.embedding.requests, cache, settings)


def asked(server) -> list[str]:
    return [text for request in server.requests for text in request.inputs]


def test_a_text_is_paid_for_once_by_one_worker(services, openai_server):
    worker = pipeline(services, embedding_cache_ttl=0)
    first = worker.embed(["a", "b"])
    assert worker.embed(["b", "a", "c"]) == {**first, "c": worker.embed(["c"])["c"]}
    assert asked(openai_server) == ["a", "b", "c"]


def test_a_text_is_paid_for_once_by_all_workers(services, openai_server):
    one, other = pipeline(services), pipeline(services, embedding_lru_bytes=0)
    assert one.embed(["a", "b"]) == other.embed(["a", "b"])
    assert asked(openai_server) == ["a", "b"]
    key = services.keys.embedding(services.settings.space.name, text_hash("a"))
    assert 0 < services.data.ttl(key) <= 60


def test_vectors_of_another_space_are_never_taken(services, openai_server):
    pipeline(services).embed(["a"])
    other = pipeline(services, embedding_dimensions=32)
    assert other._cache.get([text_hash("a")]) == {}


def test_errors_are_not_kept(services, openai_server):
    worker = pipeline(services)
    openai_server.faults.add(Fault("unavailable", times=10))
    assert isinstance(worker.embed(["a"])["a"], NetworkError)
    openai_server.faults.clear()
    assert isinstance(worker.embed(["a"])["a"], bytes)


def test_the_cache_in_redis_stays_within_its_bytes_and_says_how_many(services, openai_server, monkeypatch):
    vector = 4 * services.settings.space.dimensions
    # Eight periods, three vectors each.
    worker = pipeline(services, embedding_lru_bytes=0, embedding_cache_ttl=8_000, embedding_cache_bytes=8 * 3 * vector)
    now = 1_000_500.0
    monkeypatch.setattr(Store, "data_time", lambda _: now)
    worker.embed(["a", "b"])
    worker.embed(["c", "d", "e"])
    assert kept(worker, "abcde") == "abc"
    assert worker._cache.size() == 3 * vector
    # Another worker knows of it, too.
    pipeline(services, embedding_cache_ttl=8_000, embedding_cache_bytes=8 * 3 * vector).embed(["f"])
    assert kept(worker, "abcdef") == "abc"
    # A burst leaves room for what comes later.
    now += 1_000
    worker.embed(["g", "h", "i", "j"])
    assert kept(worker, "abcdefghij") == "abcghi"
    assert worker._cache.size() == 6 * vector
    now += 8_000  # the first entries have expired by then
    assert worker._cache.size() == 3 * vector


def kept(worker: EmbeddingPipeline, texts: str) -> str:
    return "".join(text for text in texts if worker._cache.get([text_hash(text)]))


def test_a_text_somebody_is_asking_for_is_waited_for(services, openai_server):
    """Single flight: many drains want one text at the same time."""
    worker = pipeline(services, embedding_cache_ttl=0)
    openai_server.latency_ms = 200
    start = threading.Barrier(8)

    def want(_: int) -> bytes:
        start.wait()
        return worker.embed(["same"])["same"]

    with ThreadPoolExecutor(8) as threads:
        vectors = set(threads.map(want, range(8)))
    assert len(vectors) == 1
    assert asked(openai_server) == ["same"]


def test_who_waited_for_a_request_that_failed_gets_its_error_and_asks_again_later(services, openai_server):
    worker = pipeline(services, embedding_cache_ttl=0)
    openai_server.latency_ms = 200
    openai_server.faults.add(Fault("bad_request"))
    start = threading.Barrier(4)

    def want(_: int):
        start.wait()
        return worker.embed(["refused"])["refused"]

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(want, range(4)))
    assert {type(error).__name__ for error in found} == {"EmbeddingError"}
    openai_server.latency_ms = 0
    assert isinstance(worker.embed(["refused"])["refused"], bytes)


def test_small_requests_gather_while_one_is_under_way(services, openai_server):
    began, released, asked_for = threading.Event(), threading.Event(), []

    def ask(texts, meter):
        meter.add(1, len(texts))
        asked_for.append(sorted(texts))
        began.set()
        if "first" in texts:
            released.wait(PATIENCE)
        return {text: text.encode() for text in texts}

    batcher = MicroBatcher(ask, max_wait=5.0)
    meters = [Meter() for _ in range(FULL_REQUEST // 16 + 1)]
    with ThreadPoolExecutor(16) as threads:
        first = threads.submit(batcher.embed, ["first"], Meter())
        assert began.wait(PATIENCE)
        others = [
            threads.submit(batcher.embed, [f"text {number:03}"], meters[number]) for number in range(FULL_REQUEST // 16)
        ]
        filling = threads.submit(batcher.embed, [f"more {number:03}" for number in range(FULL_REQUEST - 1)], meters[-1])
        for number, other in enumerate(others):
            assert other.result(PATIENCE)[f"text {number:03}"] == f"text {number:03}".encode()
        filling.result(PATIENCE)
        released.set()
        assert first.result(PATIENCE) == {"first": b"first"}
    assert asked_for[0] == ["first"], "a lone request does not wait"
    assert len(asked_for) <= 3, "the others went together"
    assert sum(meter.requests for meter in meters) == len(asked_for) - 1, "a shared request counts once"
    assert [meter.tokens for meter in meters] == [1] * (FULL_REQUEST // 16) + [FULL_REQUEST - 1]


def test_a_gathered_request_that_breaks_breaks_for_everybody_in_it():
    def ask(texts, meter):
        raise ZeroDivisionError

    batcher = MicroBatcher(ask, max_wait=0.0)
    with pytest.raises(ZeroDivisionError):
        batcher.embed(["a"], Meter())
    with pytest.raises(ZeroDivisionError):
        batcher.embed(["b"], Meter())


def test_an_erased_texts_vector_is_gone_from_every_cache(services, client, openai_server):
    services.embedding = worker = pipeline(services)
    memory_id = added(services, client, "my secret")
    drain(services, client.update(memory_id, "my other secret"))
    other = added(services, client, "kept")
    digests = [text_hash(text) for text in ("my secret", "my other secret", "kept")]
    assert len(worker._cache.get(digests)) == 3
    drain(services, client.delete(memory_id, hard=True))
    assert set(worker._cache.get(digests)) == {digests[2]}
    assert set(worker._memory.get(digests)) == {digests[2]}
    assert client.get(other).memory == "kept"


def test_a_query_is_embedded_once(services, client, openai_server, emendo_settings):
    from emendo_client import MemoryClient

    added(services, client, "I dislike seafood.")
    settings = emendo_settings.model_copy(update={"embedding_lru_bytes": 1 << 20})
    with MemoryClient(settings) as reader:
        openai_server.clear_requests()
        assert [hit.memory for hit in reader.search("seafood", user_id="ana")] == ["I dislike seafood."]
        reader.search("seafood", user_id="ana")
    assert asked(openai_server) == ["seafood"]


def test_the_periods_of_the_cache_go_by_redis_clock(services, monkeypatch):
    """Two workers whose clocks differ count in one period, or each would have all of the room."""
    worker = pipeline(services)
    worker.embed(["a"])
    size = VectorCache(worker._cache._store).size()
    assert size > 0
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 10_000)
    assert VectorCache(worker._cache._store).size() == size
