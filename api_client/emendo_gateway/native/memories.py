"""Memories: add, list, search, read, change, delete, restore, and their history."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from emendo_client.errors import ValidationError
from emendo_client.exchanges.diagnosis.models import Diagnosis
from emendo_client.models import Memory
from emendo_client.requests import validation
from emendo_client.requests.listings import ORDERS
from emendo_gateway.gateway import service_of
from emendo_gateway.idempotency import IdempotencyKey
from emendo_gateway.native import answers, preconditions, project, schemas
from emendo_gateway.native.consistency import Consistency, of_write
from emendo_gateway.native.parameters import Limit, Wait
from emendo_gateway.native.preconditions import IfMatch, IfNoneMatch
from emendo_gateway.service import Service

router = APIRouter(prefix="/memories", tags=["memories"])
Calls = Annotated[Service, Depends(service_of)]
MemoryId = Annotated[
    str,
    Path(
        description="A memory's id, from a job's result or a search.",
        json_schema_extra={"pattern": f"^{validation.ID_FORM}$"},
    ),
]
ScopeId = Annotated[str | None, Query(max_length=256)]


@router.post("", summary="Add memories", **answers.JOB)
async def add(
    calls: Calls, body: schemas.NewMemories, *, key: IdempotencyKey, wait: Wait, consistency: Consistency = "eventual"
) -> Response:
    """Remembers what a conversation says; with `infer: false` each message becomes a memory as it is."""
    checked = of_write(consistency, wait, key)
    job = await calls.add(**dict(body), idempotency_key=key, consistency=checked)
    return await answers.of_job(calls, job, wait)


@router.get("", summary="List memories", response_model=schemas.MemoryPage)
async def get_all(
    request: Request,
    calls: Calls,
    *,
    user_id: ScopeId = None,
    agent_id: ScopeId = None,
    run_id: ScopeId = None,
    order: Annotated[
        str,
        Query(
            description="`created_at` or `updated_at`; a minus for the newest first.",
            json_schema_extra={"enum": list(ORDERS)},
        ),
    ] = "-created_at",
    limit: Limit = 100,
    cursor: Annotated[str | None, Query(max_length=4_096, description="The `next_cursor` of the page before.")] = None,
    all_users: Annotated[bool, Query(description="List the whole project.")] = False,
    include_deleted: bool = False,
) -> Response:
    """A scope's memories, page by page. `Link` with `rel="next"` has the address of the next page."""
    page = await calls.get_all(
        user_id,
        agent_id=agent_id,
        run_id=run_id,
        order=order,
        limit=limit,
        cursor=cursor,
        all_users=all_users,
        include_deleted=include_deleted,
    )
    body = schemas.MemoryPage(results=page.results, total=page.total, next_cursor=page.next_cursor)
    if page.next_cursor is None:
        return answers.document(body)
    following = urlencode({**request.query_params, "cursor": page.next_cursor})
    return answers.document(body, link=f'<{request.url.path}?{following}>; rel="next"')


@router.post("/search", summary="Search memories", response_model=schemas.Hits)
async def search(calls: Calls, body: schemas.Query) -> Response:
    """The scope's memories nearest in meaning to the query, nearest first."""
    return answers.document(schemas.Hits(results=await calls.search(**dict(body))))


@router.post("/count", summary="Count memories", response_model=schemas.Count)
async def count(calls: Calls, body: schemas.Selection) -> Response:
    """The number of a selection's memories, without reading them."""
    return answers.document(schemas.Count(count=await calls.count(**dict(body))))


@router.post("/delete", summary="Delete many memories", **project.MAYBE_JOB)
async def delete_all(calls: Calls, body: schemas.Condemned, *, wait: Wait) -> Response:
    """Deletes a scope's memories that exist now; with `hard` it erases them, also those that were deleted before."""
    return await answers.of_maybe(calls, await calls.delete_all(**dict(body)), wait)


@router.get(
    "/{memory_id}",
    summary="Read a memory",
    response_model=Memory,
    responses={
        200: {"headers": {"ETag": {"description": "The memory's version.", "schema": {"type": "string"}}}},
        304: {"description": "The caller has this version."},
    },
)
async def get(calls: Calls, memory_id: MemoryId, if_none_match: IfNoneMatch, include_deleted: bool = False) -> Response:
    """One memory; its `ETag` is its version."""
    memory = await calls.get(memory_id, include_deleted=include_deleted)
    tag = preconditions.etag(memory)
    if preconditions.is_known(memory, if_none_match):
        return Response(status_code=304, headers={"etag": tag})
    return answers.document(memory, etag=tag)


@router.patch("/{memory_id}", summary="Change a memory", **answers.JOB)
async def update(
    calls: Calls,
    memory_id: MemoryId,
    *,
    body: schemas.Change,
    if_match: IfMatch,
    key: IdempotencyKey,
    wait: Wait,
    consistency: Consistency = "eventual",
) -> Response:
    """Replaces the text, merges the metadata, or both.

    With `If-Match` a version that is stale already is refused with 412. One that becomes stale before the change is
    applied makes the job fail with VERSION_MISMATCH, and the memory stays as it is.
    """
    expected = await preconditions.base_of_write(calls, key, if_match, lambda: calls.get(memory_id))
    job = await calls.update(
        memory_id,
        **dict(body),
        expected_version=expected,
        idempotency_key=key,
        consistency=of_write(consistency, wait, key),
    )
    return await answers.of_job(calls, job, wait)


@router.put("/{memory_id}", summary="Replace a memory", **answers.JOB)
async def replace(
    calls: Calls,
    memory_id: MemoryId,
    *,
    body: schemas.Replacement,
    if_match: IfMatch,
    if_none_match: IfNoneMatch,
    key: IdempotencyKey,
    wait: Wait,
    consistency: Consistency = "eventual",
) -> Response:
    """Sets the text, and the metadata as a whole; for preconditions see `PATCH`.

    The change is based on the version of `If-Match`, or on the one that is read now. If another one comes in between,
    the job fails with VERSION_MISMATCH. Ids come from the jobs that add memories, so nothing can be made here.
    """
    if key is not None and (if_match is None or if_match == "*"):
        raise ValidationError(
            "Idempotency-Key without If-Match: a repeated request could not be told from another one",
            suggestion="send the version that the replacement is based on in If-Match",
        )
    if key is not None:
        preconditions.require_one_base(if_match)
    if any(value is None for value in body.metadata.values()):
        raise ValidationError("metadata has a null", suggestion="leave the key out to remove it")
    is_repeat = await calls.has_begun(key)
    expected = await preconditions.expected_version(lambda: calls.get(memory_id), if_match, is_repeat=is_repeat)
    if expected is not None and is_repeat:
        base = {entry.version: entry.metadata or {} for entry in await calls.history(memory_id)}.get(expected, {})
    else:
        current = await calls.get(memory_id)
        if preconditions.is_known(current, if_none_match):
            raise preconditions.must_not_exist()
        expected, base = current.version if expected is None else expected, current.metadata
    job = await calls.update(
        memory_id,
        text=body.text,
        metadata={**dict.fromkeys(base), **body.metadata} or None,
        actor_id=body.actor_id,
        role=body.role,
        expected_version=expected,
        idempotency_key=key,
        consistency=of_write(consistency, wait, key),
    )
    return await answers.of_job(calls, job, wait)


@router.delete("/{memory_id}", summary="Delete a memory", **answers.JOB)
async def delete(
    calls: Calls,
    memory_id: MemoryId,
    *,
    if_match: IfMatch,
    key: IdempotencyKey,
    wait: Wait,
    hard: Annotated[bool, Query(description="Erase its content; that cannot be undone.")] = False,
    actor_id: ScopeId = None,
    consistency: Consistency = "eventual",
) -> Response:
    """Hides the memory from every read; with `hard` nothing of its content remains."""
    expected = await preconditions.base_of_write(
        calls, key, if_match, lambda: calls.get(memory_id, include_deleted=hard)
    )
    job = await calls.delete(
        memory_id,
        hard=hard,
        actor_id=actor_id,
        expected_version=expected,
        idempotency_key=key,
        consistency=of_write(consistency, wait, key),
    )
    return await answers.of_job(calls, job, wait)


@router.post("/{memory_id}/restore", summary="Restore a memory", **answers.JOB)
async def restore(
    calls: Calls,
    memory_id: MemoryId,
    body: schemas.Restoration,
    *,
    key: IdempotencyKey,
    wait: Wait,
    consistency: Consistency = "eventual",
) -> Response:
    """Brings a deleted memory back; with `version`, text and metadata as they were then."""
    checked = of_write(consistency, wait, key)
    job = await calls.restore(memory_id, body.version, actor_id=body.actor_id, idempotency_key=key, consistency=checked)
    return await answers.of_job(calls, job, wait)


@router.get("/{memory_id}/history", summary="Read a memory's history", response_model=schemas.History)
async def history(calls: Calls, memory_id: MemoryId) -> Response:
    """Every change of the memory, oldest first; also of a deleted one."""
    return answers.document(schemas.History(results=await calls.history(memory_id)))


@router.get("/{memory_id}/diagnosis", summary="Diagnose a memory", response_model=Diagnosis)
async def diagnose(calls: Calls, memory_id: MemoryId) -> Response:
    """Whether its hash, vector, index and history agree; also of a deleted one. No text is shown."""
    return answers.document(await calls.diagnose(memory_id))
