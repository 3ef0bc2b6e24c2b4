"""The mem0 surface as one router. Paths end with a slash, since mem0's clients follow no redirect."""

from __future__ import annotations

from fastapi import APIRouter

from emendo_gateway.mem0 import absent, account, batches, entities, events, feedback, memories


def router() -> APIRouter:
    """All routes that mem0's clients call. The OpenAPI document leaves them out: their contract is mem0's."""
    routes = APIRouter(include_in_schema=False)
    for subject in (account, absent, memories, batches, events, entities, feedback):
        routes.include_router(subject.router)
    return routes
