"""Routes for operators, which no project owns: health, metrics, and the page of each error."""

from __future__ import annotations

import asyncio
import logging

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from emendo_client.errors import EmendoError, NotFoundError
from emendo_client.exchanges.health import Health, check_async, unreachable
from emendo_client.exchanges.measurements import measure_async
from emendo_config.error_codes import ErrorCode
from emendo_gateway.gateway import Gateway
from emendo_gateway.metrics import exposition
from emendo_gateway.problems.problem import ERROR_PAGES
from emendo_gateway.shared_answers import Shared

logger = logging.getLogger(__name__)

# Seconds for one check of Redis. Kubernetes, compose and Prometheus give up after 5 to 10 s.
CHECK_TIMEOUT = 3.0
# Seconds that an answer is given to everybody who asks: however many ask, Redis is asked once.
HEALTH_KEPT, METRICS_KEPT = 0.5, 3.0
# Seconds that a health check is also given to those who ask during the next check. Otherwise each check would make some
# of them wait for Redis, just when there is much to do.
HEALTH_OLDEST = 2.0
_JSON = "application/json"


def router(gateway: Gateway) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["operations"])

    async def check() -> Health:
        try:
            return await asyncio.wait_for(check_async(gateway.planes, gateway.keys), CHECK_TIMEOUT)
        except TimeoutError:
            return unreachable(f"Redis did not answer within {CHECK_TIMEOUT:g} s")

    async def scrape() -> bytes:
        ends = asyncio.get_running_loop().time() + CHECK_TIMEOUT
        health, measured = await check(), None
        if health.redis and health.index:
            try:
                async with asyncio.timeout_at(ends):
                    measured = await measure_async(gateway.planes, gateway.keys, gateway.settings)
            except (TimeoutError, EmendoError) as error:  # the health is worth showing alone
                code = error.error_code if isinstance(error, EmendoError) else type(error).__name__
                logger.warning("some metrics cannot be read", extra={"error": code})
        return exposition(health, measured)

    shared_health, shared_metrics = Shared(check, HEALTH_KEPT, HEALTH_OLDEST), Shared(scrape, METRICS_KEPT)

    @routes.get("/health/live", response_model=dict[str, str])
    async def live() -> Response:
        """Liveness: 200 while the process answers, even if Redis or the workers fail: a restart repairs neither."""
        return Response('{"status":"alive"}', media_type=_JSON)

    @routes.get(
        "/health",
        response_model=Health,
        responses={503: {"model": Health, "description": "Jobs are not carried out."}},
    )
    async def health() -> Response:
        """Readiness: 200 if jobs are accepted and carried out, else 503 and the reason."""
        found = await shared_health.get()
        return Response(found.model_dump_json(), 200 if found.ok else 503, media_type=_JSON)

    @routes.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        """Metrics for Prometheus; always 200, because an unreachable Redis is a metric too."""
        return Response(await shared_metrics.get(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    @routes.get(f"{ERROR_PAGES}{{code}}", include_in_schema=False)
    async def error_page(code: str) -> Response:
        """The meaning of an error code, as text: the `type` of problem details leads here."""
        if code not in ErrorCode.__members__:
            raise NotFoundError("there is no such error code", error_code=ErrorCode.UNKNOWN_PATH)
        found = ErrorCode[code]
        lines = [f"{found} ({found.error_class})", "", found.meaning, found.advice]
        return Response("\n".join(lines).rstrip() + "\n", media_type="text/plain; charset=utf-8")

    return routes
