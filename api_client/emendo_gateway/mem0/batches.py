"""Changes of many memories in one call."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from emendo_client.errors import ValidationError
from emendo_gateway.idempotency import IdempotencyKey
from emendo_gateway.mem0 import answers, bodies, schemas
from emendo_gateway.mem0.answers import Calls, answer

router = APIRouter()


@router.put("/v1/batch/", response_model=schemas.Done, responses=answers.PENDING)
async def batch_update(request: Request, calls: Calls, body: bodies.BatchUpdate, key: IdempotencyKey) -> Response:
    """Changes up to 1,000 memories. An item that fails leaves the others alone, and the answer is its error."""
    answers.query(request)
    items = _items(body.memories, "memory_id", "text", "metadata")
    answers.note_ignored(request, body.ignored)
    job = await calls.batch_update(items, idempotency_key=key)
    if await answers.ended(request, calls, job) is None:
        return answers.pending(job, f"{len(items)} changes are accepted, and not all applied yet.")
    return answer({"message": f"Successfully updated {len(items)} memories", "event_id": job.id})


@router.delete("/v1/batch/", response_model=schemas.Done, responses=answers.PENDING)
async def batch_delete(request: Request, calls: Calls, body: bodies.BatchDelete, key: IdempotencyKey) -> Response:
    """Hides up to 1,000 memories."""
    answers.query(request)
    items = _items(body.memories, "memory_id")
    answers.note_ignored(request, body.ignored)
    job = await calls.batch_delete(items, idempotency_key=key)
    if await answers.ended(request, calls, job) is None:
        return answers.pending(job, f"{len(items)} deletions are accepted, and not all done yet.")
    return answer({"message": f"Successfully deleted {len(items)} memories", "event_id": job.id})


def _items(given: list[dict[str, Any]], *known: str) -> list[dict[str, Any]]:
    if not 1 <= len(given) <= bodies.MOST_ITEMS:
        raise ValidationError(
            f"memories has {len(given)} items; it must have from 1 to {bodies.MOST_ITEMS}", suggestion="split it"
        )
    for index, item in enumerate(given):
        unknown = [name for name in item if name not in known]
        if unknown:
            raise ValidationError(
                f"memories[{index}] has an unknown field {str(unknown[0])[:100]!r}",
                suggestion=f"an item has: {', '.join(known)}",
            )
        if not isinstance(item.get("memory_id"), str):
            raise ValidationError(f"memories[{index}] has no memory_id", suggestion="each item names its memory")
    return given
