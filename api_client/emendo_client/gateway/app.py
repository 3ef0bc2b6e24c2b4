"""The gateway's FastAPI application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from emendo_client.gateway.metrics import exposition
from emendo_client.health import Health, check_async, unreachable
from emendo_client.steps import plane_async
from emendo_config import Keys, Settings
from emendo_config.redis_io import connect_async

# Seconds a look at Redis may take: below the timeouts of those who ask (Kubernetes, compose, Prometheus: 5 to 10 s).
LOOK_TIMEOUT = 3.0


def create_app(settings: Settings) -> FastAPI:
    """The application; one pool of connections for its life."""
    connections = {
        "data": connect_async(settings.redis_url, settings),
        "control": connect_async(settings.control_url, settings),
    }
    planes = {name: plane_async(connection) for name, connection in connections.items()}
    keys = Keys(settings.key_prefix)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        for connection in connections.values():
            await connection.aclose()

    async def look() -> Health:
        try:
            return await asyncio.wait_for(check_async(planes, keys), LOOK_TIMEOUT)
        except TimeoutError:
            return unreachable(f"Redis did not answer within {LOOK_TIMEOUT:g} s")

    app = FastAPI(title="Emendo", version=version("emendo"), lifespan=lifespan)

    @app.get("/health/live")
    async def live() -> dict[str, str]:
        """Liveness: 200 while the process answers, whatever Redis and the workers do; a restart would mend nothing."""
        return {"status": "alive"}

    @app.get("/health")
    async def health(response: Response) -> Health:
        """Readiness: 200 when jobs are accepted and carried out, 503 and the reason when not."""
        found = await look()
        if not found.ok:
            response.status_code = 503
        return found

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        """What Prometheus scrapes; always 200, since a Redis that is away is something to be told."""
        return Response(exposition(await look()), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return app
