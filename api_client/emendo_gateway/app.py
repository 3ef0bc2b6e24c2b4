"""The gateway's FastAPI application: assembled here, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from importlib.metadata import version

from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware

from emendo_config import GatewaySettings, Settings, traces
from emendo_gateway import mem0, native, operations
from emendo_gateway.admission.access import Access
from emendo_gateway.admission.envelope import Envelope
from emendo_gateway.admission.heads import Heads
from emendo_gateway.admission.lanes import Lanes
from emendo_gateway.dispatch import Dispatch, Table
from emendo_gateway.documentation import describe, operation_id
from emendo_gateway.gateway import Gateway
from emendo_gateway.telemetry import telemetry


@cache
def _surfaces() -> APIRouter:
    """The routes of both surfaces. They belong to no application: FastAPI takes half a second to prepare them."""
    routes = APIRouter(generate_unique_id_function=operation_id)
    routes.include_router(native.router())
    routes.include_router(mem0.router())
    return routes


def create_app(settings: Settings, own: GatewaySettings | None = None) -> FastAPI:
    """The application. It keeps its connections to each Redis until it ends.

    Args:
        own: the gateway's own settings; default: read from the environment.
    """
    own = own or GatewaySettings()
    traces.begin(settings, "emendo-gateway")
    gateway = Gateway(settings, own)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        gateway.start()
        yield
        await gateway.close()

    table = Table()
    app = FastAPI(
        title="Emendo",
        version=version("emendo"),
        lifespan=lifespan,
        openapi_url=None,  # `describe` adds the documents, and no page: FastAPI's loads its script from elsewhere
        generate_unique_id_function=operation_id,
        telemetry=telemetry(settings),
        middleware=[
            Middleware(Envelope, gateway.outages.notice),
            Middleware(Heads, own),
            Middleware(Access, own, gateway.authenticator, gateway.rates, settings.project),
            Middleware(Lanes, own),
            Middleware(Dispatch, table),
        ],
    )
    app.state.gateway = gateway
    app.include_router(operations.router(gateway))
    app.router.routes.extend(_surfaces().routes)
    describe(app)
    table.fill(app.routes)
    return app
