"""In-process services over the real Redis, for tests that step through the state machine by hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from intake import added, drain

from emendo_client import MemoryClient
from emendo_client.cli import run
from emendo_client.testing.server import OpenAIServer
from emendo_client.testing.worker import environment
from emendo_config import Settings
from emendo_config.celery_app import create_app
from emendo_config.index import ensure_index
from emendo_workers.services import Services


@pytest.fixture
def services(emendo_settings: Settings, openai_server: OpenAIServer) -> Iterator[Services]:
    """A worker's services without a worker: nothing runs unless the test calls it."""
    made = Services(emendo_settings, create_app(emendo_settings))
    ensure_index(made.data, emendo_settings)
    yield made
    made.stop()


@pytest.fixture
def client(emendo_settings: Settings) -> Iterator[MemoryClient]:
    """A client of the same keys as `services`."""
    with MemoryClient(emendo_settings) as made:
        yield made


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
