"""Re-embedding of the whole store. It concerns all projects, so a key may do it only if a setting allows it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field

from emendo_client.exchanges.reembedding.models import Migration, ReembedPlan
from emendo_gateway.gateway import service_of
from emendo_gateway.idempotency import IdempotencyKey
from emendo_gateway.native import answers, schemas
from emendo_gateway.native.parameters import Wait
from emendo_gateway.service import Service

router = APIRouter(prefix="/reembedding", tags=["re-embedding"])
Calls = Annotated[Service, Depends(service_of)]
_NONE: dict[int | str, dict[str, Any]] = {
    409: {"model": schemas.ProblemDetails, "description": "No re-embedding is in a state for this."}
}


class Target(schemas.Body):
    """The space to go to, or the part of the active one to repair; see docs/how-to/reembed.md."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"model": "text-embedding-3-large", "dimensions": 3072}]})

    model: str | None = None
    dimensions: int | None = None
    provider: str | None = None
    filters: dict[str, Any] | None = Field(None, examples=[{"missing": True}])
    algorithm: str | None = Field(None, description="Of the index: `flat`, `hnsw` or `svs-vamana`.")
    metric: str | None = Field(None, description="`cosine`, `ip` or `l2`.")
    datatype: str | None = Field(None, description="`float32` or `float16`.")
    allow_missing: bool = Field(False, description="Switch even if some memories could not be embedded.")


class Current(BaseModel):
    """The latest re-embedding, or null."""

    reembedding: Migration | None


class Resumption(schemas.Body):
    """How it goes on."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"allow_missing": False}]})

    allow_missing: bool = False


@router.post("", summary="Re-embed the store", **answers.JOB_ALONE)
async def begin(calls: Calls, body: Target, *, key: IdempotencyKey, wait: Wait) -> Response:
    """Gives every memory a vector in another space, while reads and writes go on."""
    return await answers.of_job(calls, await calls.reembed(**dict(body), idempotency_key=key), wait)


@router.post("/plan", summary="Plan a re-embedding", response_model=ReembedPlan)
async def plan(calls: Calls, body: Target) -> Response:
    """The effort of a re-embedding; changes nothing."""
    return answers.document(await calls.plan_reembedding(**dict(body)))


@router.get("", summary="Read the state of the re-embedding", response_model=Current)
async def state(calls: Calls) -> Response:
    """The latest re-embedding; null if there was none in the last day (`EMENDO_JOB_TTL`)."""
    return answers.document(await _state(calls))


@router.post("/pause", summary="Pause the re-embedding", response_model=Current, responses=_NONE)
async def pause(calls: Calls) -> Response:
    """Workers finish what they have begun."""
    await calls.pause_reembedding()
    return answers.document(await _state(calls))


@router.post("/resume", summary="Resume the re-embedding", response_model=Current, responses=_NONE)
async def resume(calls: Calls, body: Resumption) -> Response:
    """Goes on after a pause, or after its job failed."""
    await calls.resume_reembedding(allow_missing=body.allow_missing)
    return answers.document(await _state(calls))


@router.post("/rollback", summary="Go back to the old space", **answers.JOB_ALONE)
async def roll_back(calls: Calls, *, wait: Wait) -> Response:
    """Searches use the old space again, and the new one is removed."""
    return await answers.of_job(calls, await calls.roll_back_reembedding(), wait)


@router.post("/finalize", summary="Remove the old space", **answers.JOB_ALONE)
async def finalize(calls: Calls, *, wait: Wait) -> Response:
    """Removes the old space now, instead of after `EMENDO_REEMBED_GRACE`."""
    return await answers.of_job(calls, await calls.finalize_reembedding(), wait)


async def _state(calls: Service) -> Current:
    return Current(reembedding=await calls.migration())
