"""In-process services over the real Redis, for tests that step through the state machine by hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from inferring import Model, started
from intake import added, drain

from emendo_client import MemoryClient
from emendo_client.cli import run
from emendo_client.testing.server import OpenAIServer
from emendo_client.testing.worker import environment
from emendo_config import Settings
from emendo_workers.services import Services


@pytest.fixture
def settings(emendo_settings: Settings) -> Settings:
    """What `services` and `client` run with; a module of tests may have its own."""
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
