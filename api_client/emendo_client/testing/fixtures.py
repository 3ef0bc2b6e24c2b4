"""Pytest fixtures: a real Redis with search, an OpenAI-protocol server, a real worker.

Use them with `pytest_plugins = ["emendo_client.testing.fixtures"]` in your conftest.py. They need the extras
`emendo[worker,local]`. The servers run once per session; the settings are new for each test.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from emendo_client import MemoryClient
from emendo_client.testing.embedded_redis import EmbeddedRedis
from emendo_client.testing.given_redis import GivenRedis, given_url
from emendo_client.testing.openai_server.server import OpenAIServer
from emendo_client.testing.worker import WorkerProcess
from emendo_config import Settings

DIMENSIONS = 64


def settings_for(redis_url: str, base_url: str, **more: Any) -> Settings:
    """Settings for a test: small vectors, short leases, a fresh key prefix."""
    values: dict[str, Any] = {
        "redis_url": redis_url,
        "key_prefix": _new_prefix(),
        "embedding_provider": "openai",
        "embedding_base_url": base_url,
        "embedding_api_key": "test",
        "embedding_dimensions": DIMENSIONS,
        # A cached vector would make a test's provider requests depend on the tests before it.
        "embedding_lru_bytes": 0,
        "embedding_cache_ttl": 0,
        "retry_base": 0.2,
        "breaker_failures": 1_000,  # single failures must not open it
        "lease": 2.0,
        "ring_ttl": 1.0,
        "sweep_interval": 0.2,
        **more,
    }
    return Settings(**values)


def _new_prefix() -> str:
    return f"test-{uuid.uuid4().hex[:12]}:"


@cache
def _checked(redis_url: str, base_url: str) -> Settings:
    """Settings that all tests have in common: to read and check them takes as long as a short test."""
    return settings_for(redis_url, base_url)


@pytest.fixture(scope="session")
def emendo_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """A real Redis with search on a free port, for the whole session.

    On a machine without a server it is the Redis of EMENDO_REDIS_URL. Tests use keys of their own prefixes there.
    """
    url = given_url()
    if url:
        with GivenRedis(url, "", keep=True) as given:
            yield given
        return
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def _provider() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        yield server


@pytest.fixture
def openai_server(_provider: OpenAIServer) -> Iterator[OpenAIServer]:
    """The OpenAI-protocol server in its initial state: no faults, no latency, OpenAI's limits, an empty request log.

    It is reset afterwards, too: what a later test or module prepares without this fixture meets no fault of this test.
    """
    _provider.reset()
    yield _provider
    _provider.reset()


@pytest.fixture
def emendo_settings(emendo_redis: EmbeddedRedis, _provider: OpenAIServer) -> Settings:
    """Settings with a key prefix for this test only; no worker runs for them."""
    return _checked(emendo_redis.url, _provider.base_url).model_copy(update={"key_prefix": _new_prefix()})


@pytest.fixture(scope="session")
def emendo_worker(
    emendo_redis: EmbeddedRedis, _provider: OpenAIServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """The settings of a worker process that runs for the whole session, for its clients."""
    settings = settings_for(emendo_redis.url, _provider.base_url)
    log: Path = tmp_path_factory.mktemp("worker") / "worker.log"
    with WorkerProcess(settings, log):
        yield settings


@pytest.fixture
def emendo_client(emendo_worker: Settings, openai_server: OpenAIServer) -> Iterator[MemoryClient]:
    """A client of the session's worker, in a project for this test only; the provider starts without faults."""
    assert openai_server.base_url == emendo_worker.embedding_base_url
    with MemoryClient(emendo_worker, project=f"project-{uuid.uuid4().hex[:8]}") as client:
        yield client
