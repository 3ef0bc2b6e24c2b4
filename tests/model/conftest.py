"""In-process services over the real Redis, in which time stands still: nothing is retried by itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from emendo_client.testing.embedded_redis import EmbeddedRedis
from emendo_client.testing.openai_server.server import OpenAIServer
from emendo_config import Settings
from emendo_config.celery_app import create_app
from emendo_config.spaces.bootstrap import ensure_index
from emendo_workers.services import Services


@pytest.fixture(scope="session")
def emendo_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """A Redis of these tests' own: they make many indexes, and each one scans every key that other tests left."""
    with EmbeddedRedis(tmp_path_factory.mktemp("model-redis")) as server:
        yield server


@pytest.fixture
def emendo_settings(emendo_settings: Settings) -> Settings:
    """Few shards, so that memories share them; no pauses; max_wait with a job whose workers die."""
    return emendo_settings.model_copy(
        update={
            "inbox_shards": 3,
            "maintenance_shards": 1,
            "embedding_quick_retries": 0,
            "embedding_cache_ttl": 0,  # else a provider that fails is seldom asked
            "embedding_lru_bytes": 0,
            "max_attempts": 3,
            "retry_base": 1.0,
            "poison_deliveries": 1_000,
            "lease": 60.0,
            "ring_ttl": 60.0,
        }
    )


@pytest.fixture
def services(emendo_settings: Settings, openai_server: OpenAIServer) -> Iterator[Services]:
    """A worker's services without a worker: nothing runs unless the test calls it."""
    made = Services(emendo_settings, create_app(emendo_settings))
    ensure_index(made.data, emendo_settings)
    yield made
    made.stop()
