"""Batches: many adds, updates and deletes as one job."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Response
from pydantic import ConfigDict, Field

from emendo_gateway.gateway import service_of
from emendo_gateway.idempotency import IdempotencyKey
from emendo_gateway.native import answers, schemas
from emendo_gateway.native.consistency import Consistency, of_write
from emendo_gateway.native.parameters import Wait
from emendo_gateway.service import Service

router = APIRouter(prefix="/batches", tags=["batches"])
Calls = Annotated[Service, Depends(service_of)]
# Items of one request. A larger import is several requests.
MOST_ITEMS = 1_000
Version = Annotated[int | None, Field(None, ge=0, description="The version that the change is based on: its ETag.")]


class AddItem(schemas.Body):
    """One add of a batch."""

    op: Literal["add"]
    messages: str | dict[str, Any] | list[dict[str, Any]]
    user_id: schemas.Scope
    agent_id: schemas.Scope
    run_id: schemas.Scope
    metadata: schemas.Metadata
    expires_at: str | None = None


class UpdateItem(schemas.Body):
    """One change of a batch."""

    op: Literal["update"]
    memory_id: str
    text: str | None = None
    metadata: schemas.Metadata
    actor_id: schemas.Scope
    role: str | None = None
    expected_version: Version
    on_conflict: str = "last_write_wins"


class DeleteItem(schemas.Body):
    """One delete of a batch."""

    op: Literal["delete"]
    memory_id: str
    hard: bool = False
    actor_id: schemas.Scope
    expected_version: Version


Item = Annotated[AddItem | UpdateItem | DeleteItem, Field(discriminator="op")]


class Batch(schemas.Body):
    """Up to 1,000 items; each succeeds or fails by itself."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "items": [
                        {"op": "add", "messages": "I dislike seafood.", "user_id": "ana"},
                        {"op": "update", "memory_id": "0f3c", "text": "I enjoy seafood.", "expected_version": 3},
                        {"op": "delete", "memory_id": "51be"},
                    ],
                    "infer": False,
                }
            ]
        }
    )

    items: list[Item] = Field(min_length=1, max_length=MOST_ITEMS)
    infer: bool = Field(True, description="For the adds; see `POST /api/v1/memories`.")


@router.post(
    "",
    summary="Add, change and delete many memories",
    status_code=202,
    response_model=schemas.AcceptedJob,
    responses=answers.JOB_ANSWERS,
)
async def submit(
    calls: Calls,
    body: Batch,
    *,
    key: IdempotencyKey,
    wait: Wait,
    consistency: Consistency = "eventual",
) -> Response:
    """Accepts all items as one job, in their order; `GET /api/v1/jobs/{job_id}/results` has the results by item.

    An item whose `expected_version` is stale fails alone, with VERSION_MISMATCH. An item that is malformed in its
    values fails alone, too. If all are, or one has an unknown field, the batch is refused.
    """
    items = [item.model_dump(exclude_unset=True) for item in body.items]
    job = await calls.batch(items, infer=body.infer, idempotency_key=key, consistency=of_write(consistency, wait, key))
    return await answers.of_job(calls, job, wait)
