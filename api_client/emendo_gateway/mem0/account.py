"""The ping that mem0's clients begin with: whose key it is."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from emendo_gateway.callers import caller_of
from emendo_gateway.mem0 import schemas
from emendo_gateway.mem0.answers import answer, query

router = APIRouter()
# The one organisation that there is.
ORGANISATION = "emendo"


@router.get("/v1/ping/", response_model=schemas.Ping)
async def ping(request: Request) -> Response:
    """The project of the key. There is no address of a person, so mem0's clients make a name of their own."""
    query(request)
    project = caller_of(request.scope).project
    return answer({"status": "ok", "org_id": ORGANISATION, "project_id": project, "user_email": None})
