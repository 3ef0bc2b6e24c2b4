"""The asyncio client: the same requests and conversations as the synchronous one, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self, TypeVar

from emendo_client import health, reads, validation, writes
from emendo_client.aio_job import AsyncJob
from emendo_client.bell import Bell
from emendo_client.client import MAX_PAGE, MAX_PAGE_SIZE, MAX_SEARCH_LIMIT, Messages
from emendo_client.filters import scoped
from emendo_client.models import HistoryEntry, JobInfo, JobStatus, Memory, Page, SearchHit
from emendo_client.requests import JobRequest, RequestBuilder
from emendo_client.steps import Steps, run_async
from emendo_config import Keys, Settings
from emendo_config.redis_io import connect_async

if TYPE_CHECKING:
    from emendo_client.embeddings import Embedder

T = TypeVar("T")


class AsyncMemoryClient:
    """`MemoryClient` for asyncio: the same methods and errors, awaited. Use it from one event loop.

    Args:
        settings: default: read from the environment.
        project: default: the settings' project. Nothing this client does reaches another project.
    """

    def __init__(self, settings: Settings | None = None, project: str | None = None) -> None:
        self.settings = settings or Settings()
        self.project = (
            validation.scope_id(self.settings.project if project is None else project, "project") or "default"
        )
        self._keys = Keys(self.settings.key_prefix)
        self._build = RequestBuilder(self.settings, self.project)
        self._bell = Bell(self.settings)
        self._data = connect_async(self.settings.redis_url, self.settings)
        same = self.settings.control_url == self.settings.redis_url
        self._control = self._data if same else connect_async(self.settings.control_url, self.settings)
        self._planes = {"data": self._data, "control": self._control}
        self._embedder: Embedder | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """See `MemoryClient.__aenter__`."""
        self._bell.close()
        await self._data.aclose()
        await self._control.aclose()
        if self._embedder is not None:
            self._embedder.close()

    # Writes.

    async def add(
        self,
        messages: Messages,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        infer: bool = True,
        expires_at: datetime | str | None = None,
        idempotency_key: str | None = None,
        consistency: str = "eventual",
    ) -> AsyncJob:
        """Remembers messages: each user or assistant message becomes one memory.

        Args:
            messages: a string (one user message), a message {role, content[, name]}, or a list of them.
            user_id, agent_id, run_id: whose memories; at least one. They never change afterwards.
            metadata: JSON values kept with each memory.
            infer: ask a chat model what to remember. Without one configured the messages are stored as
                they are, and the result says `degraded`.
            expires_at: when the memories vanish, with a time zone.
            idempotency_key: the same key and request give the same job; another request ConflictError.
            consistency: `eventual`, `strong` (returns after the commit) or `weak` (no record is kept).

        Raises:
            ValidationError, ConflictError, NetworkError
        """
        return await self._submit(
            self._build.add(
                messages,
                user_id=user_id,
                agent_id=agent_id,
                run_id=run_id,
                metadata=metadata,
                infer=infer,
                expires_at=expires_at,
                idempotency_key=idempotency_key,
                consistency=consistency,
            )
        )

    async def update(
        self,
        memory_id: str,
        text: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        actor_id: str | None = None,
        role: str | None = None,
        expected_version: int | None = None,
        on_conflict: str = "last_write_wins",
        idempotency_key: str | None = None,
        consistency: str = "eventual",
    ) -> AsyncJob:
        """Replaces the text, merges the metadata (a key set to None is removed), or both.

        Args:
            expected_version: the job fails with ConflictError unless the memory has this version.
            on_conflict: `last_write_wins` keeps, field by field, the newest submission; `reject` fails
                with ConflictError when a newer submission was there first.

        Raises:
            ValidationError, ConflictError, NetworkError
        """
        return await self._submit(
            self._build.update(
                memory_id,
                text=text,
                metadata=metadata,
                actor_id=actor_id,
                role=role,
                expected_version=expected_version,
                on_conflict=on_conflict,
                idempotency_key=idempotency_key,
                consistency=consistency,
            )
        )

    async def delete(
        self,
        memory_id: str,
        *,
        actor_id: str | None = None,
        expected_version: int | None = None,
        idempotency_key: str | None = None,
        consistency: str = "eventual",
    ) -> AsyncJob:
        """Hides the memory from every read; its history stays, and `restore` brings it back."""
        return await self._submit(
            self._build.delete(
                memory_id,
                actor_id=actor_id,
                expected_version=expected_version,
                idempotency_key=idempotency_key,
                consistency=consistency,
            )
        )

    async def restore(
        self,
        memory_id: str,
        version: int | None = None,
        *,
        actor_id: str | None = None,
        idempotency_key: str | None = None,
        consistency: str = "eventual",
    ) -> AsyncJob:
        """Brings a deleted memory back; with `version`, text and metadata as they were then."""
        return await self._submit(
            self._build.restore(
                memory_id,
                version=version,
                actor_id=actor_id,
                idempotency_key=idempotency_key,
                consistency=consistency,
            )
        )

    # Jobs.

    async def job(self, job_id: str) -> AsyncJob:
        """See `MemoryClient.job`."""
        handle = AsyncJob(self, validation.job_id(job_id))
        await handle.info()
        return handle

    async def jobs(self, status: JobStatus | str | None = None, limit: int = 100) -> list[JobInfo]:
        """See `MemoryClient.jobs`."""
        wanted = None if status is None else JobStatus(validation.one_of(status, "status", list(JobStatus)))
        checked = validation.positive(limit, "limit", MAX_PAGE_SIZE)
        return await self._run(reads.jobs(self._keys, self.project, wanted, checked))

    async def dead_letters(self, limit: int = 100) -> list[JobInfo]:
        """See `MemoryClient.dead_letters`."""
        checked = validation.positive(limit, "limit", MAX_PAGE_SIZE)
        return await self._run(reads.dead_letters(self._keys, self.project, checked))

    async def replay(self, job_id: str) -> AsyncJob:
        """See `MemoryClient.replay`."""
        job_id = validation.job_id(job_id)
        await self._ring(await self._run(writes.replay(self.settings, self._keys, self.project, job_id)))
        return AsyncJob(self, job_id)

    async def discard(self, job_id: str) -> None:
        """See `MemoryClient.discard`."""
        job_id = validation.job_id(job_id)
        await self._run(writes.discard(self.settings, self._keys, self.project, job_id))

    # Reads.

    async def get(self, memory_id: str, *, include_deleted: bool = False) -> Memory:
        """See `MemoryClient.get`."""
        checked = validation.memory_id(memory_id)
        validation.flag(include_deleted, "include_deleted")
        return await self._run(reads.get(self._keys, self.project, checked, include_deleted=include_deleted))

    async def get_all(
        self,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        *,
        filters: Mapping[str, Any] | None = None,
        page: int = 1,
        page_size: int = 100,
        all_users: bool = False,
    ) -> Page:
        """See `MemoryClient.get_all`."""
        wanted = scoped(self.project, user_id, agent_id, run_id, filters, all_users=all_users)
        page = validation.positive(page, "page", MAX_PAGE)
        page_size = validation.positive(page_size, "page_size", MAX_PAGE_SIZE)
        return await self._run(reads.get_all(self._keys, wanted, page, page_size))

    async def search(
        self,
        query: str,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        *,
        limit: int = 10,
        filters: Mapping[str, Any] | None = None,
        all_users: bool = False,
    ) -> list[SearchHit]:
        """See `MemoryClient.search`."""
        query = validation.text(query, "query", self.settings)
        wanted = scoped(self.project, user_id, agent_id, run_id, filters, all_users=all_users)
        limit = validation.positive(limit, "limit", MAX_SEARCH_LIMIT)
        vector = await self._embed(query)
        return await self._run(reads.search(self._keys, wanted, self.settings.space.field, vector, limit))

    async def history(self, memory_id: str) -> list[HistoryEntry]:
        """See `MemoryClient.history`."""
        return await self._run(reads.history(self._keys, self.project, validation.memory_id(memory_id)))

    async def health(self) -> health.Health:
        """See `MemoryClient.health`."""
        return await health.check_async(self._planes, self._keys)

    # Inside.

    async def _submit(self, request: JobRequest) -> AsyncJob:
        job_id, shard = await self._run(writes.accept(self.settings, self._keys, request))
        await self._ring(shard)
        job = AsyncJob(self, job_id)
        if request.consistency == "strong":
            await job.wait(timeout=self.settings.task_time_limit)
        return job

    async def _ring(self, shard: int | None) -> None:
        if shard is not None:
            # Publishing blocks on the broker; only the client that found the bell silent pays for it.
            await asyncio.to_thread(self._bell.ring, shard)

    async def _run(self, steps: Steps[T]) -> T:
        return await run_async(self._planes, steps)

    async def _embed(self, query: str) -> bytes:
        if self._embedder is None:
            from emendo_client.embeddings import create_embedder

            self._embedder = create_embedder(self.settings)
        return (await self._embedder.embed_async([query])).vectors[0]
