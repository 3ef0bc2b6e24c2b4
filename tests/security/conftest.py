"""The services, clients and models that the integration tests have."""

from __future__ import annotations

from tests.integration.conftest import cli, client, model, services, settings

__all__ = ["cli", "client", "model", "services", "settings"]
