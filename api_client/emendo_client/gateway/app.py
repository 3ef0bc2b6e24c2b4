"""The gateway's FastAPI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI, Response

from emendo_client.health import Health, check_async
from emendo_config import Keys, Settings
from emendo_config.redis_io import connect_async


def create_app(settings: Settings) -> FastAPI:
    """The application; one pool of connections for its life."""
    planes = {
        "data": connect_async(settings.redis_url, settings),
        "control": connect_async(settings.control_url, settings),
    }
    keys = Keys(settings.key_prefix)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        for connection in planes.values():
            await connection.aclose()

    app = FastAPI(title="Emendo", version=version("emendo"), lifespan=lifespan)

    @app.get("/health")
    async def health(response: Response) -> Health:
        """200 when jobs are accepted and carried out, 503 and the reason when not."""
        found = await check_async(planes, keys)
        if not found.ok:
            response.status_code = 503
        return found

    return app
