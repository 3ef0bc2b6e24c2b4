"""Pytest fixtures: a real Redis with search, an OpenAI-protocol server, a real worker.

Use them in your own tests with `pytest_plugins = ["emendo_client.testing.fixtures"]` in conftest.py; they
need the extras `emendo[worker,local]`. The servers run once per session, the settings are new for each test.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emendo_client import MemoryClient
from emendo_client.local.embedded_redis import EmbeddedRedis
from emendo_client.testing.server import OpenAIServer
from emendo_client.testing.worker import WorkerProcess
from emendo_config import Settings

DIMENSIONS = 64


def settings_for(redis_url: str, base_url: str, **more: Any) -> Settings:
    """Settings for a test: small vectors, short leases, a key prefix of its own."""
    values: dict[str, Any] = {
        "redis_url": redis_url,
        "key_prefix": f"test-{uuid.uuid4().hex[:12]}:",
        "embedding_provider": "openai",
        "embedding_base_url": base_url,
        "embedding_api_key": "test",
        "embedding_dimensions": DIMENSIONS,
        "embedding_timeout": 5.0,
        # What a test expects of the provider must not depend on the tests before it.
        "embedding_lru_bytes": 0,
        "embedding_cache_ttl": 0,
        "retry_base": 0.2,
        "breaker_failures": 1_000,  # tests of single failures must not open it
        "lease": 2.0,
        "ring_ttl": 1.0,
        "sweep_interval": 0.2,
        **more,
    }
    return Settings(**values)


@pytest.fixture(scope="session")
def emendo_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """A real Redis with search on a free port, for the whole session."""
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def _provider() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        yield server


@pytest.fixture
def openai_server(_provider: OpenAIServer) -> OpenAIServer:
    """The OpenAI-protocol server as it was made: no faults, no latency, OpenAI's limits, an empty request log."""
    _provider.reset()
    return _provider


@pytest.fixture
def emendo_settings(emendo_redis: EmbeddedRedis, _provider: OpenAIServer) -> Settings:
    """Settings with a key prefix of this test's own; no worker runs for them."""
    return settings_for(emendo_redis.url, _provider.base_url)


@pytest.fixture(scope="session")
def emendo_worker(
    emendo_redis: EmbeddedRedis, _provider: OpenAIServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """A worker process for the whole session; the settings it and its clients share."""
    settings = settings_for(emendo_redis.url, _provider.base_url)
    log: Path = tmp_path_factory.mktemp("worker") / "worker.log"
    with WorkerProcess(settings, log):
        yield settings


@pytest.fixture
def emendo_client(emendo_worker: Settings, openai_server: OpenAIServer) -> Iterator[MemoryClient]:
    """A client of the session's worker, in a project of this test's own; the provider begins without faults."""
    assert openai_server.base_url == emendo_worker.embedding_base_url
    with MemoryClient(emendo_worker, project=f"project-{uuid.uuid4().hex[:8]}") as client:
        yield client
