"""The services, clients and models that the integration tests have, and a provider that answers anything."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.conftest import cli, client, model, services, settings
from tests.security.raw_provider import Provider, serving

__all__ = ["cli", "client", "model", "services", "settings"]


@pytest.fixture
def provider() -> Iterator[Provider]:
    with serving() as made:
        yield made
