"""The mem0 surface as one router. Paths end with a slash, since mem0's clients follow no redirect."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from emendo_gateway.mem0 import absent, account, batches, entities, events, feedback, memories
from emendo_gateway.mem0.schemas import ErrorDetail


def _error(description: str) -> dict[str, Any]:
    return {"model": ErrorDetail, "description": description}


# Answers that every route may give.
_ERRORS: dict[int | str, dict[str, Any]] = {
    400: _error("The request is malformed; nothing was done."),
    401: _error("The request has no key, or one that opens nothing."),
    403: _error("The key's scope or user does not allow this."),
    404: _error("The caller's project has nothing under the id."),
    408: _error("The body came too slowly; nothing was done."),
    409: _error("The write failed, since the memory is in another state by now."),
    413: _error("The body is too large."),
    415: _error("The body is not declared as JSON."),
    422: _error("The idempotency key was used for another request."),
    429: _error("The key's rate or the project's quota is used up; `Retry-After` says when to try again."),
    431: _error("The head of the request is too large."),
    500: _error("The gateway failed, or the write did; the log of the gateway or of a worker has the reason."),
    501: _error("This server does not have what was asked for; nothing was done."),
    502: _error("A provider's answer cannot be used."),
    503: _error("The gateway, Redis or a provider is overloaded or away; `Retry-After` says when to try again."),
    504: _error("The request took too long; `event_id` leads to a write that is under way."),
}


def router() -> APIRouter:
    """All routes that mem0's clients call. They have an OpenAPI document of their own."""
    routes = APIRouter(tags=["mem0"], responses=_ERRORS)
    for subject in (account, absent, memories, batches, events, entities, feedback):
        routes.include_router(subject.router)
    return routes
