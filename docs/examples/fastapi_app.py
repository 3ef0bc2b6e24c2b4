"""FastAPI: one AsyncMemoryClient in each process, opened and closed by the lifespan.

Run it with `uvicorn fastapi_app:app`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, TypedDict

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from emendo_client import AsyncMemoryClient
from emendo_client.errors import TransientError, ValidationError


class Note(BaseModel):
    """The body of a request."""

    text: str


class State(TypedDict):
    """The lifespan's part of each `request.state`."""

    memories: AsyncMemoryClient


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[State]:
    """Concurrent requests share the client, and with it their round trips to Redis."""
    async with AsyncMemoryClient() as memories:  # settings from EMENDO_… variables
        yield {"memories": memories}


app = FastAPI(lifespan=lifespan)


def client_of(request: Request) -> AsyncMemoryClient:
    """The process's client."""
    memories: AsyncMemoryClient = request.state.memories
    return memories


Memories = Annotated[AsyncMemoryClient, Depends(client_of)]


# A real app takes the user from its login.
@app.post("/users/{user_id}/notes", status_code=202)
async def remember(user_id: str, note: Note, memories: Memories) -> dict[str, str]:
    """Answers as soon as Redis has the job; a worker carries it out."""
    job = await memories.add(note.text, user_id=user_id, infer=False)
    return {"job": job.id}


@app.get("/users/{user_id}/notes")
async def recall(user_id: str, q: str, memories: Memories) -> list[str]:
    """The user's memories nearest to the question."""
    return [hit.memory for hit in await memories.search(q, user_id=user_id, limit=3)]


@app.exception_handler(ValidationError)
async def refused(_: Request, error: ValidationError) -> JSONResponse:
    """Bad input: nothing was enqueued."""
    return JSONResponse({"detail": error.message}, status_code=422)


@app.exception_handler(TransientError)
async def away(_: Request, error: TransientError) -> JSONResponse:
    """Redis or the provider is away: the same request may succeed later."""
    return JSONResponse({"detail": error.message}, status_code=503, headers={"Retry-After": "1"})
