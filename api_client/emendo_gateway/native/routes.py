"""The native surface as one router."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends

from emendo_gateway.native import batches, conflicts, dead_letters, jobs, memories, project, reembedding, scaling
from emendo_gateway.native.parameters import require_known_parameters
from emendo_gateway.native.schemas import ProblemDetails

PREFIX = "/api/v1"


def _problem(description: str) -> dict[str, Any]:
    return {"model": ProblemDetails, "description": description}


# Answers that every route may give.
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: _problem("The request is malformed; nothing was done."),
    401: _problem("The request has no key, or one that opens nothing."),
    403: _problem("The key's scope or user does not allow this."),
    404: _problem("The caller's project has nothing under the id."),
    408: _problem("The body came too slowly; nothing was done."),
    413: _problem("The body is too large."),
    415: _problem("The body is not declared as JSON."),
    429: _problem("The key's rate or the project's quota is used up; `Retry-After` says when to try again."),
    431: _problem("The head of the request is too large."),
    500: _problem("The gateway failed, or the job that was waited for did; the log of either has the reason."),
    502: _problem("A provider's answer cannot be used."),
    503: _problem("The gateway, Redis or a provider is overloaded or away; `Retry-After` says when to try again."),
    504: _problem("The request took too long."),
}


def router() -> APIRouter:
    """All routes of the native surface."""
    routes = APIRouter(prefix=PREFIX, dependencies=[Depends(require_known_parameters)], responses=_PROBLEMS)
    for subject in (memories, batches, jobs, project, conflicts, dead_letters, reembedding, scaling):
        routes.include_router(subject.router)
    return routes
