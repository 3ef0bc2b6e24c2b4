"""A memory server inside the process, in both dialects, with at most one defect at a time.

A write is accepted with what its memory was then, and applied when its state is asked for. So what races on a real
server always happens here.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2 as httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


@dataclass
class Stored:
    project: str
    user_id: str
    text: str
    metadata: dict[str, Any] = field(default_factory=dict)
    version: int = 0
    is_deleted: bool = False
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Pending:
    project: str
    apply: Callable[[], None]
    memory_id: str
    looks: int = 0
    status: str = "queued"

    def run(self) -> None:
        if self.status == "queued":
            self.status = "succeeded"
            try:
                self.apply()
            except LookupError:
                self.status = "failed"


class FaultyServer:
    """The server; `transport` is how a client reaches it."""

    def __init__(self, defect: str = "") -> None:
        self.defect = defect
        self.memories: dict[str, Stored] = {}
        self.jobs: dict[str, Pending] = {}
        self.keys: dict[tuple[str, str], tuple[Any, str]] = {}
        self.transport = httpx.ASGITransport(app=Starlette(routes=[*self._native(), *self._mem0()]))

    # Both dialects.

    def _record(self, memory_id: str, event: str, text: str | None) -> None:
        memory = self.memories[memory_id]
        memory.version += 2 if self.defect == "versions with gaps" else 1
        old = None if event == "ADD" else memory.text
        entry = {"event": event, "old_memory": old, "new_memory": text, "version": memory.version}
        if self.defect == f"entry {memory.version} is missing":
            return
        memory.history.append(entry)
        if event == "UPDATE" and self.defect == "an entry is there twice":
            memory.history.append(entry)

    def _add(self, project: str, user_id: str, text: str) -> Pending:
        memory_id = str(uuid.uuid4())

        def apply() -> None:
            self.memories[memory_id] = Stored(project, user_id, text)
            self._record(memory_id, "ADD", text)

        return Pending(project, apply, memory_id)

    def _update(self, project: str, memory_id: str, text: str | None, metadata: dict[str, Any] | None) -> Pending:
        base = dict(self.memories[memory_id].metadata) if memory_id in self.memories else {}

        def apply() -> None:
            if self.defect == "an update of nothing is done":
                self.memories.setdefault(memory_id, Stored(project, "", ""))
            memory = self.memories[memory_id]
            if memory.is_deleted:
                if self.defect == "an update brings back":
                    memory.is_deleted = False
                elif self.defect == "a late update is told as done":
                    return
                else:
                    raise LookupError(memory_id)
            if text is not None:
                self._record(memory_id, "UPDATE", text)
                memory.text = text if self.defect != "an update has no effect" else memory.text
            if metadata is not None:
                memory.metadata = {**(base if self.defect == "lost updates" else memory.metadata), **metadata}

        return Pending(project, apply, memory_id)

    def _delete(self, project: str, memory_id: str) -> Pending:
        def apply() -> None:
            memory = self.memories[memory_id]
            if memory.is_deleted:
                raise LookupError(memory_id)
            memory.is_deleted = self.defect != "a deletion has no effect"

        return Pending(project, apply, memory_id)

    def _seen(self, request: Request, what: str) -> Stored | None:
        """The memory of the path, if this caller may see it."""
        memory = self.memories.get(request.path_params["id"])
        if memory is None or (memory.is_deleted and what != "history"):
            return None
        is_own = memory.project == project(request) or self.defect == f"strangers see: {what}"
        return memory if is_own else None

    def _listed(self, request: Request, user_id: str | None) -> list[tuple[str, Stored]]:
        everybody = self.defect == "strangers see: list"
        return [
            (memory_id, memory)
            for memory_id, memory in self.memories.items()
            if memory.user_id == user_id and not memory.is_deleted and (everybody or memory.project == project(request))
        ]

    def _may_begin(self, request: Request) -> bool:
        memory_id = request.path_params["id"]
        if self.defect in ("an update of nothing is done", "a late update is told as done", "strangers see: write"):
            return True
        return self._seen(request, "write") is not None and memory_id in self.memories

    def _is_busy(self, memory_id: str) -> bool:
        under_way = [job for job in self.jobs.values() if job.memory_id == memory_id and job.status == "queued"]
        return self.defect == "" and self.refuses_beside and bool(under_way)

    refuses_beside = False

    def _repeated(self, request: Request, body: Any) -> tuple[str, JSONResponse | None]:
        """The job that the idempotency key began, and the refusal if that was another request."""
        key = request.headers.get("idempotency-key")
        if key is None or self.defect == "the key is ignored":
            return "", None
        before, job_id = self.keys.get((project(request), key), (body, ""))
        if before != body and self.defect == "another text with the key is stored":
            return "", None
        if before != body and self.defect != "another text with the key is not refused":
            return "", JSONResponse({"detail": "the key was used for another request"}, 422)
        return job_id, None

    def _keep(self, request: Request, body: Any, job: Pending) -> str:
        job_id = str(uuid.uuid4())
        self.jobs[job_id] = job
        self.keys.setdefault((project(request), request.headers.get("idempotency-key", job_id)), (body, job_id))
        return job_id

    # Emendo's dialect: each write is a job.

    def _native(self) -> list[Route]:
        root = "/api/v1/memories"
        return [
            Route(root, self._native_add, methods=["POST"]),
            Route(root, self._native_list),
            Route(f"{root}/{{id}}", self._native_get),
            Route(f"{root}/{{id}}", self._native_change, methods=["PATCH", "DELETE"]),
            Route(f"{root}/{{id}}/history", self._native_history),
            Route("/api/v1/jobs/{id}", self._native_job),
        ]

    async def _native_add(self, request: Request) -> JSONResponse:
        body = await request.json()
        job_id, refused = self._repeated(request, body)
        if refused:
            return refused
        job_id = job_id or self._keep(request, body, self._add(project(request), body["user_id"], body["messages"]))
        return JSONResponse({"job_id": job_id}, 202)

    async def _native_list(self, request: Request) -> JSONResponse:
        found = self._listed(request, request.query_params["user_id"])
        return JSONResponse({"results": [{"id": each, "memory": memory.text} for each, memory in found]})

    async def _native_get(self, request: Request) -> JSONResponse:
        memory = self._seen(request, "read")
        if memory is None:
            return JSONResponse({"detail": "no such memory"}, 404)
        return JSONResponse({"memory": memory.text, "metadata": memory.metadata, "version": memory.version})

    async def _native_history(self, request: Request) -> JSONResponse:
        memory = self._seen(request, "history")
        return JSONResponse({"results": memory.history} if memory else {}, 200 if memory else 404)

    async def _native_change(self, request: Request) -> JSONResponse:
        memory_id = request.path_params["id"]
        if not self._may_begin(request):
            return JSONResponse({"detail": "no such memory"}, 404)
        if self._is_busy(memory_id):
            return JSONResponse({"detail": "another change is under way"}, 409)
        if request.method == "DELETE":
            job = self._delete(project(request), memory_id)
        else:
            body = await request.json()
            job = self._update(project(request), memory_id, body.get("text"), body.get("metadata"))
        return JSONResponse({"job_id": self._keep(request, None, job)}, 202)

    async def _native_job(self, request: Request) -> JSONResponse:
        job = self.jobs[request.path_params["id"]]
        job.looks += 1
        is_own = job.project == project(request) or self.defect == "strangers see: job"
        if not is_own or (self.defect == "a new job is unknown" and job.looks == 1):
            return JSONResponse({"detail": "no such job"}, 404)
        if self.defect == "done before it is" and job.looks == 1:
            return JSONResponse({"status": "succeeded", "results": [{"memory_id": job.memory_id}]})
        job.run()
        return JSONResponse({"status": job.status, "results": [{"memory_id": job.memory_id}]})

    # mem0's dialect: a write answers when it is done.

    def _mem0(self) -> list[Route]:
        return [
            Route("/v1/ping/", self._mem0_ping),
            Route("/v3/memories/add/", self._mem0_add, methods=["POST"]),
            Route("/v3/memories/", self._mem0_list, methods=["POST"]),
            Route("/v1/memories/{id}/", self._mem0_get),
            Route("/v1/memories/{id}/", self._mem0_change, methods=["PUT", "DELETE"]),
            Route("/v1/memories/{id}/history/", self._mem0_history),
        ]

    async def _mem0_ping(self, _: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    async def _done(self, job: Pending) -> Pending:
        for _ in range(50):  # meanwhile all other requests that were sent come in
            await asyncio.sleep(0)
        if self.defect != "done before it is":
            job.run()
        return job

    async def _mem0_add(self, request: Request) -> JSONResponse:
        body = await request.json()
        job_id, refused = self._repeated(request, body)
        if refused:
            return refused
        user_id, text = body["user_id"], body["messages"][0]["content"]
        job_id = job_id or self._keep(request, body, self._add(project(request), user_id, text))
        job = await self._done(self.jobs[job_id])
        return JSONResponse({"status": "SUCCEEDED", "event_id": job_id, "results": [{"id": job.memory_id}]})

    async def _mem0_list(self, request: Request) -> JSONResponse:
        found = self._listed(request, (await request.json())["filters"]["user_id"])
        return JSONResponse({"results": [{"id": each, "memory": memory.text} for each, memory in found]})

    async def _mem0_get(self, request: Request) -> JSONResponse:
        memory = self._seen(request, "read")
        if memory is None:
            return JSONResponse({"detail": "no such memory"}, 404)
        return JSONResponse({"memory": memory.text, "metadata": memory.metadata})

    async def _mem0_history(self, request: Request) -> JSONResponse:
        memory = self._seen(request, "history")
        return JSONResponse(memory.history[::-1] if memory else {}, 200 if memory else 404)

    async def _mem0_change(self, request: Request) -> JSONResponse:
        memory_id = request.path_params["id"]
        if not self._may_begin(request):
            return JSONResponse({"detail": "no such memory"}, 404)
        if request.method == "DELETE":
            job = self._delete(project(request), memory_id)
        else:
            body = await request.json()
            job = self._update(project(request), memory_id, body.get("text"), body.get("metadata"))
        job = await self._done(job)
        return JSONResponse({"id": memory_id}, 200 if job.status != "failed" else 404)


def project(request: Request) -> str:
    """Each key has a project of its own."""
    return request.headers["authorization"]
