"""Conflicts: submissions that wait for a person's decision."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Response
from pydantic import BaseModel, ConfigDict, Field

from emendo_client.models import Conflict
from emendo_gateway.gateway import service_of
from emendo_gateway.idempotency import IdempotencyKey
from emendo_gateway.native import answers, preconditions, schemas
from emendo_gateway.native.consistency import Consistency, of_write
from emendo_gateway.native.parameters import Limit, Wait
from emendo_gateway.native.preconditions import IfMatch
from emendo_gateway.service import Service

router = APIRouter(prefix="/conflicts", tags=["conflicts"])
Calls = Annotated[Service, Depends(service_of)]
ConflictId = Annotated[str, Path(description="A conflict's id, from the list or from a job's result.")]


class Conflicts(BaseModel):
    """Conflicts that wait, newest first."""

    results: list[Conflict]


class Decision(schemas.Body):
    """A person's decision: `ours`, `theirs`, or `merged` with the text and metadata to set."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"choice": "merged", "text": "I enjoy sushi.", "actor_id": "kim"}]}
    )

    choice: str = Field(json_schema_extra={"enum": ["ours", "theirs", "merged"]})
    text: str | None = None
    metadata: schemas.Metadata
    actor_id: schemas.Scope


@router.get("", summary="List conflicts", response_model=Conflicts)
async def find(calls: Calls, limit: Limit = 100) -> Response:
    """The submissions that wait for a decision, newest first."""
    return answers.document(Conflicts(results=await calls.conflicts(limit)))


@router.get("/{conflict_id}", summary="Read a conflict", response_model=Conflict)
async def get(calls: Calls, conflict_id: ConflictId) -> Response:
    """The submission, the memory as it is, and their common base."""
    return answers.document(await calls.conflict(conflict_id))


@router.post("/{conflict_id}/resolve", summary="Resolve a conflict", **answers.JOB)
async def resolve(
    calls: Calls,
    conflict_id: ConflictId,
    *,
    body: Decision,
    if_match: IfMatch,
    key: IdempotencyKey,
    wait: Wait,
    consistency: Consistency = "eventual",
) -> Response:
    """Applies a decision. `If-Match` is the memory's ETag, as the person saw it; see `PATCH` of a memory."""

    async def memory() -> Any:
        return await calls.get((await calls.conflict(conflict_id)).memory_id, include_deleted=True)

    expected = await preconditions.base_of_write(calls, key, if_match, memory)
    job = await calls.resolve_conflict(
        conflict_id,
        **dict(body),
        expected_version=expected,
        idempotency_key=key,
        consistency=of_write(consistency, wait, key),
    )
    return await answers.of_job(calls, job, wait)
