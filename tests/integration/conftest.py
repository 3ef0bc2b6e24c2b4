"""In-process services over the real Redis, for tests that step through the state machine by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from emendo_client import MemoryClient
from emendo_client.testing.embedded_redis import EmbeddedRedis
from emendo_client.testing.openai_server.server import OpenAIServer
from emendo_client.testing.worker import environment
from emendo_config import Settings
from emendo_ops.cli.app import run
from emendo_workers.jobs import outcomes
from emendo_workers.services import Services
from tests.support.inferring import Model, started
from tests.support.intake import added, drain
from tests.support.rabbitmq import RabbitMQ, server_script


@pytest.fixture
def settings(emendo_settings: Settings) -> Settings:
    """The settings of `services` and `client`; a module of tests may have its own."""
    return emendo_settings


@pytest.fixture
def services(settings: Settings, openai_server: OpenAIServer) -> Iterator[Services]:
    """A worker's services without a worker: nothing runs unless the test calls it."""
    made = started(settings)
    yield made
    made.stop()


@pytest.fixture
def client(settings: Settings) -> Iterator[MemoryClient]:
    """A client of the same keys as `services`."""
    with MemoryClient(settings) as made:
        yield made


@pytest.fixture
def redis_alone(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A Redis that no other test uses, for those that change its limits or read its files."""
    with EmbeddedRedis(tmp_path / "redis") as server:
        yield server


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """A real RabbitMQ, which tests may kill and start again."""
    if server_script() is None:
        pytest.skip("rabbitmq-server is not installed here: nothing is tried with an amqp broker")
    with RabbitMQ(tmp_path_factory.mktemp("rabbitmq")) as broker:
        yield broker


@pytest.fixture
def refusals_are_kept(monkeypatch) -> None:
    """Refused requests become dead letters, as earlier releases made them; their lists live on in many stores."""
    monkeypatch.setattr(outcomes, "_REFUSALS", frozenset({"CANCELLED", "MEMORY_ERASED"}))


@pytest.fixture
def model(openai_server: OpenAIServer) -> Model:
    """A chat model that takes every sentence for a fact, until it is told more."""
    return Model(openai_server)


@pytest.fixture
def cli(monkeypatch, capfd):
    """Runs `emendo …` in this process with a settings' environment: exit code, output, errors."""

    def call(settings: Settings | None, *words: str):
        if settings is not None:
            for name, value in environment(settings).items():
                if name.startswith("EMENDO_"):
                    monkeypatch.setenv(name, value)
        capfd.readouterr()
        code = run(list(words))
        written = capfd.readouterr()
        return code, written.out, written.err

    return call


@pytest.fixture
def store(services, client):
    """Ids of five memories: one deleted, one erased."""
    ids = [added(services, client, f"fact {n} about the sea") for n in range(5)]
    drain(services, client.delete(ids[3]))
    drain(services, client.delete(ids[4], hard=True))
    return ids[:4]
