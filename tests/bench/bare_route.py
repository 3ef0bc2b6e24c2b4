"""A bare FastAPI route that reads the same body as the gateway's add, and does nothing with it."""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI

from emendo_gateway.native.schemas import NewMemories

app = FastAPI()


@app.post("/api/v1/memories", status_code=202)
async def add(body: NewMemories) -> dict[str, str]:
    """Answers as an accepted job would be."""
    return {"job_id": "0f3c2b9e-0f3c-0f3c-0f3c-0f3c2b9e0f3c", "status": "queued", "url": str(len(body.messages))}


@app.get("/health")
async def health() -> dict[str, str]:
    """Asks nobody."""
    return {"status": "alive"}


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), access_log=False, log_level="warning", http="h11")
