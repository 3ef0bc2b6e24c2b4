"""The project as a whole: its users, agents and runs, its rules, and erasure."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from pydantic import ConfigDict, Field

from emendo_client.models import OwnerPage, ProjectRules
from emendo_gateway.gateway import service_of
from emendo_gateway.native import answers, schemas
from emendo_gateway.native.parameters import Limit, Wait
from emendo_gateway.service import Service

router = APIRouter(tags=["project"])
Calls = Annotated[Service, Depends(service_of)]
Cursor = Annotated[str | None, Query(max_length=4_096, description="The `next_cursor` of the page before.")]
# A call that may find nothing to do.
MAYBE_JOB: dict[str, Any] = {
    **answers.JOB_ALONE,
    "responses": {**answers.JOB_ALONE["responses"], 204: {"description": "Nothing matches, so there is no job."}},
}


class Rules(schemas.Body):
    """Changes of the rules; a part that is left out stays as it is."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"instructions": "Remember what people eat.", "categories": ["food", "work"]}]}
    )

    instructions: str | None = Field(None, description="For the chat model; an empty text removes them.")
    categories: list[str] | None = Field(None, description="Names for facts; an empty list removes them.")


class Erasure(schemas.Body):
    """The user to erase. The id is in the body, so that no log of addresses has it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user_id": "ana"}]})

    user_id: str = Field(min_length=1, max_length=256)


class Purge(schemas.Body):
    """The moment before which a memory must have been deleted, or have expired."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"deleted_before": "2030-01-31T12:00:00Z"}]})

    deleted_before: str = Field(description="ISO-8601 with a time zone.")


@router.get("/users", summary="List users", response_model=OwnerPage)
async def users(calls: Calls, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """The users who have memories, each with the number of them."""
    return answers.document(await calls.owners("users", limit, cursor))


@router.get("/agents", summary="List agents", response_model=OwnerPage)
async def agents(calls: Calls, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """The agents that have memories, each with the number of them."""
    return answers.document(await calls.owners("agents", limit, cursor))


@router.get("/runs", summary="List runs", response_model=OwnerPage)
async def runs(calls: Calls, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """The runs that have memories, each with the number of them."""
    return answers.document(await calls.owners("runs", limit, cursor))


@router.post("/erasures", summary="Erase a user", **answers.JOB_ALONE)
async def erase_user(calls: Calls, body: Erasure, *, wait: Wait) -> Response:
    """Erases all that the project holds of a user; the job's result says in `erased` how much it was. Scope `admin`."""
    return await answers.of_job(calls, await calls.erase_user(body.user_id), wait)


@router.post("/purges", summary="Erase deleted memories", **MAYBE_JOB)
async def purge(calls: Calls, body: Purge, *, wait: Wait) -> Response:
    """Erases the memories that were deleted, or had expired, before a moment. Scope `admin`."""
    return await answers.of_maybe(calls, await calls.purge(body.deleted_before), wait)


@router.get("/project/rules", summary="Read the rules for inference", response_model=ProjectRules)
async def rules(calls: Calls) -> Response:
    """The instructions and categories that the chat model is told."""
    return answers.document(await calls.rules())


@router.patch("/project/rules", summary="Change the rules for inference", response_model=ProjectRules)
async def set_rules(calls: Calls, body: Rules) -> Response:
    """Changes the rules, from the next job on; the answer has all of them. Scope `admin`."""
    return answers.document(await calls.set_rules(body.instructions, body.categories))
