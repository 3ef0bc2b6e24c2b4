"""Feedback: two keys of the memory's metadata, so its history has them and filters find them."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from emendo_client.errors import ValidationError
from emendo_gateway.idempotency import IdempotencyKey
from emendo_gateway.mem0 import answers, bodies, schemas
from emendo_gateway.mem0.answers import Calls, answer

router = APIRouter()
_WORDS = ("POSITIVE", "NEGATIVE", "VERY_NEGATIVE")


@router.post("/v1/feedback/", response_model=schemas.KeptFeedback)
async def feedback(request: Request, calls: Calls, body: bodies.Feedback, key: IdempotencyKey) -> Response:
    """Keeps what somebody thinks of a memory; null takes it back."""
    answers.query(request)
    answers.note_ignored(request, body.ignored)
    word = body.feedback.upper() if body.feedback else None
    if word is not None and word not in _WORDS:
        raise ValidationError("feedback is unknown", suggestion=f"use {', '.join(_WORDS)} or null")
    told = {"feedback": word, "feedback_reason": body.feedback_reason}
    job = await calls.update(body.memory_id, metadata=told, idempotency_key=key)
    if await answers.ended(request, calls, job) is None:
        raise answers.not_yet(job)
    return answer({"id": job.id, "memory_id": body.memory_id, **told})
