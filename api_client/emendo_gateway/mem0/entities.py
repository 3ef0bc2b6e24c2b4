"""Entities: the users, agents and runs that have memories."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request, Response

from emendo_client.errors import MemoryNotFoundError, ValidationError
from emendo_client.models import Owner, OwnerPage
from emendo_gateway.mem0 import answers, filters, schemas
from emendo_gateway.mem0.answers import Calls, answer
from emendo_gateway.mem0.memories import deleted

router = APIRouter()
# mem0's clients read the first page only, also to delete all of them: so it is as long as it can be.
_PAGE = 1_000
_MOST_PAGES = 20
_WRITE: dict[str, Any] = {"response_model": schemas.Done, "responses": answers.PENDING}
_TYPES = {"user": "user_id", "agent": "agent_id", "app": "app_id", "run": "run_id"}


@router.get("/v1/entities/", response_model=schemas.Entities, openapi_extra=answers.paging(_PAGE))
async def entities(request: Request, calls: Calls) -> Response:
    """All users, agents and runs with memories, by their types and ids. Apps are keys of the metadata, so none."""
    number, size = answers.page_of(answers.query(request, "page", "page_size"), _PAGE, _PAGE)
    client = calls.whole_project()
    users, agents, runs = await asyncio.gather(*map(_all, (client.users, client.agents, client.runs)))
    found = [
        _entity(kind, owner) for kind, owners in (("user", users), ("agent", agents), ("run", runs)) for owner in owners
    ]
    first = (number - 1) * size
    document = answers.page(
        request, found[first : first + size], len(found), number, has_next=len(found) > first + size
    )
    totals = {"total_users": len(users), "total_agents": len(agents), "total_apps": 0, "total_runs": len(runs)}
    return answer({**document, **totals})


async def _all(read: Callable[..., Awaitable[OwnerPage]]) -> list[Owner]:
    found: list[Owner] = []
    cursor = None
    for _ in range(_MOST_PAGES):
        page = await read(limit=_PAGE, cursor=cursor)
        found += page.results
        cursor = page.next_cursor
        if cursor is None:
            break
    return found


def _entity(kind: str, owner: Owner) -> dict[str, Any]:
    return {
        "id": owner.id,
        "name": owner.id,
        "type": kind,
        "total_memories": owner.memories,
        "created_at": None,
        "updated_at": None,
        "owner": None,
        "metadata": {},
    }


@router.delete("/v2/entities/{kind}/{name:path}/", **_WRITE)
@router.delete("/v1/entities/{kind}/{name:path}/", name="delete_entity_by_npm", **_WRITE)
async def delete_entity(request: Request, calls: Calls, kind: str, name: str) -> Response:
    """Hides all memories of a user, agent, app or run.

    An entity whose memories are hidden already is no error: memories may have several owners, and a client deletes one
    owner after the other.
    """
    answers.query(request)
    if kind not in _TYPES:
        raise ValidationError("there is no such type of entity", suggestion=f"use {', '.join(_TYPES)}")
    # A list, because a bare "*" would mean everybody.
    wanted = filters.wanted({_TYPES[kind]: [name]})
    if not await calls.count(all_users=True, filters=wanted, include_deleted=True):
        raise MemoryNotFoundError("the entity has no memories", suggestion="/v1/entities/ lists those that have some")
    return await deleted(request, calls, wanted)
