"""Memories: add, list, search, read, change, delete, and their history."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from emendo_client.errors import MemoryNotFoundError, ValidationError
from emendo_client.models import JobStatus, Memory
from emendo_config.error_codes import ErrorCode
from emendo_gateway.gateway import gateway_of
from emendo_gateway.idempotency import IdempotencyKey
from emendo_gateway.mem0 import answers, bodies, documents, filters, schemas
from emendo_gateway.mem0.answers import Calls, answer

router = APIRouter()
_LARGEST_PAGE = 1_000
_OWNERS = answers.parameters(**{name: {"type": "string"} for name in (*filters.OWNERS, "filters")})


@router.post("/v3/memories/add/", response_model=schemas.Added, responses=answers.PENDING)
async def add(request: Request, calls: Calls, body: bodies.Add, key: IdempotencyKey) -> Response:
    """Accepts messages: with `infer` the answer is an event, without it the memories that were made."""
    answers.query(request)
    answers.note_ignored(request, body.ignored)
    inside = filters.owners_in(body.filters)
    owners = {name: getattr(body, name) for name in filters.OWNERS if getattr(body, name) is not None}
    for name, value in inside.items():
        filters.require_same(owners.get(name), value, name)
    owners |= inside
    app = owners.pop(filters.APP, None)
    if app is not None and not owners:
        raise ValidationError(
            "app_id alone owns no memory here: it is kept as a key of the metadata",
            suggestion="give user_id, agent_id or run_id beside it",
        )
    metadata = body.metadata if app is None else {**(body.metadata or {}), filters.APP: app}
    infers = body.infer is not False
    job = await calls.add(
        body.messages,
        **owners,
        metadata=metadata,
        infer=infers,
        expires_at=documents.expiry(body.expiration_date),
        idempotency_key=key,
    )
    if infers and not (job.is_repeat and (await job.status()).is_final):
        return answers.pending(job, "The messages are accepted; a worker finds out what to remember.")
    result = await answers.ended(request, calls, job)
    if result is None:
        return answers.pending(job, "The messages are accepted, and not stored yet.")
    document = {
        "message": "The memories are stored.",
        "status": documents.status(JobStatus.SUCCEEDED),
        "event_id": job.id,
        "results": documents.results(result),
    }
    return answer(document)


@router.post("/v3/memories/", response_model=schemas.Memories, openapi_extra=answers.paging(_LARGEST_PAGE))
async def get_all(request: Request, calls: Calls, body: bodies.GetAll) -> Response:
    """The memories that the filters find, newest first, page by page."""
    answers.note_ignored(request, body.ignored)
    number, size = answers.page_of(answers.query(request, "page", "page_size"), 100, _LARGEST_PAGE)
    limits = {name: value for name, value in (("gte", body.start_date), ("lte", body.end_date)) if value}
    wanted = filters.wanted(body.filters, _categories(body), {"created_at": limits} if limits else None)
    found = await calls.get_all(all_users=True, filters=wanted, page=number, page_size=size)
    listed = documents.only(map(documents.memory, found.results), body.fields)
    return answer(answers.page(request, listed, found.total, number, has_next=found.has_next))


@router.post("/v3/memories/search/", response_model=schemas.Hits)
async def search(request: Request, calls: Calls, body: bodies.Search) -> Response:
    """The memories that the filters find and that are nearest to the query, nearest first."""
    answers.query(request)
    has_words = gateway_of(request).settings.index_text
    by_words = bool(body.keyword_search) and has_words
    answers.note_ignored(
        request, [*body.ignored, *(["keyword_search"] if body.keyword_search and not has_words else [])]
    )
    text = body.query.strip()
    if not text:
        raise ValidationError("query is empty", suggestion="say what to search for")
    hits = await calls.search(
        text,
        all_users=True,
        filters=filters.wanted(body.filters, _categories(body), {"metadata": body.metadata} if body.metadata else None),
        limit=body.top_k or 10,
        threshold=body.threshold or None,  # no score that is told is below 0
        mode="hybrid" if by_words else "vector",
    )
    return answer({"results": documents.only(map(documents.hit, hits), body.fields)})


def _categories(body: bodies.GetAll | bodies.Search) -> dict[str, Any] | None:
    return {"categories": body.categories} if body.categories else None


@router.delete("/v1/memories/", response_model=schemas.Done, responses=answers.PENDING, openapi_extra=_OWNERS)
async def delete_all(request: Request, calls: Calls) -> Response:
    """Hides the memories of the named owners; `*` means all that have one."""
    given = answers.query(request, *filters.OWNERS, "filters")
    inside = given.pop("filters", None)
    wanted = filters.wanted(given, filters.from_query(inside) if inside is not None else None)
    return await deleted(request, calls, wanted)


async def deleted(request: Request, calls: Calls, wanted: dict[str, Any]) -> Response:
    """Hides what a filter finds, and answers."""
    job = await calls.delete_found(wanted)
    if job is None:
        return answer({"message": "There is no such memory.", "event_id": None})
    if await answers.ended(request, calls, job) is None:
        return answers.pending(job, "The memories are being deleted.")
    return answer({"message": "The memories are deleted.", "event_id": job.id})


@router.get("/v1/memories/{memory_id}/", response_model=schemas.Memory)
async def get(request: Request, calls: Calls, memory_id: str) -> Response:
    """One memory."""
    answers.query(request)
    return answer(documents.memory(await calls.get(memory_id)))


@router.put("/v1/memories/{memory_id}/", response_model=schemas.Memory)
async def update(request: Request, calls: Calls, memory_id: str, body: bodies.Update, key: IdempotencyKey) -> Response:
    """Replaces the text, merges the metadata, or both, and answers with the memory."""
    answers.query(request)
    answers.note_ignored(request, body.ignored)
    if "expiration_date" in body.model_fields_set or body.metadata == {}:
        current = await calls.get(memory_id)
        if "expiration_date" in body.model_fields_set:
            _require_same_expiry(current, body.expiration_date)
        if body.text is None and not body.metadata:
            return answer(documents.memory(current))
    job = await calls.update(memory_id, text=body.text, metadata=body.metadata, idempotency_key=key)
    if await answers.ended(request, calls, job) is None:
        raise answers.not_yet(job)
    return answer(documents.memory(await calls.get(memory_id)))


def _require_same_expiry(current: Memory, given: str | None) -> None:
    if given != documents.memory(current)["expiration_date"]:
        raise ValidationError(
            "the expiration_date of a memory cannot be changed here; nothing was done",
            error_code=ErrorCode.NOT_OFFERED,
            suggestion="delete the memory, or add it again with another date",
        )


@router.delete("/v1/memories/{memory_id}/", response_model=schemas.Done, responses=answers.PENDING)
async def delete(request: Request, calls: Calls, memory_id: str, key: IdempotencyKey) -> Response:
    """Hides the memory; its history stays."""
    answers.query(request, ignored=("delete_linked",))
    if not await calls.has_begun(key):
        await calls.get(memory_id)
    job = await calls.delete(memory_id, idempotency_key=key)
    if await answers.ended(request, calls, job) is None:
        return answers.pending(job, "The memory is being deleted.")
    return answer({"message": "The memory is deleted.", "event_id": job.id})


@router.get("/v1/memories/{memory_id}/history/", response_model=list[schemas.HistoryRow])
async def history(request: Request, calls: Calls, memory_id: str) -> Response:
    """Every change of a memory, oldest first; also of a deleted one."""
    answers.query(request)
    entries = await calls.history(memory_id)
    try:
        owner = await calls.get(memory_id, include_deleted=True)
    except MemoryNotFoundError:  # erased: nobody owns what is left of it
        owner = None
    return answer([documents.history_row(entry, owner) for entry in entries])
