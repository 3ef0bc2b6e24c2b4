"""A Redis of their own for the tests of re-embedding."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from emendo_client.testing.embedded_redis import EmbeddedRedis


@pytest.fixture(scope="session")
def emendo_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """A Redis of these tests' own: they make many indexes, and each one scans every key that other tests left."""
    with EmbeddedRedis(tmp_path_factory.mktemp("reembedding-redis")) as server:
        yield server
