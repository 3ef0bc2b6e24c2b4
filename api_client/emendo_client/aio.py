"""The asyncio client: the same requests and conversations as the synchronous one, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Self, TypeVar

from emendo_client import dead_letters, diagnosis_reads, health, purging, reads, validation, writes
from emendo_client.aio_job import AsyncJob
from emendo_client.batches import BatchBuilder, BatchRequest
from emendo_client.bell import Bell
from emendo_client.client import MAX_PAGE, MAX_PAGE_SIZE, MAX_SEARCH_LIMIT
from emendo_client.collector import AsyncCollector
from emendo_client.dead_letters import LetterFilter
from emendo_client.diagnosis import Diagnosis
from emendo_client.embeddings.queries import QueryEmbedder
from emendo_client.filters import scoped
from emendo_client.models import (
    Conflict,
    DeadLetter,
    DeadLetterProgress,
    HistoryEntry,
    JobInfo,
    JobStatus,
    Memory,
    Page,
    SearchHit,
)
from emendo_client.operations import Document, Messages
from emendo_client.requests import JobRequest, RequestBuilder
from emendo_client.steps import Steps, run_async
from emendo_config import Keys, Settings
from emendo_config.queues import BULK, MAINTENANCE
from emendo_config.redis_io import connect_async

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
        self._batch = BatchBuilder(self.settings, self.project)
        self._bell = Bell(self.settings)
        self._data = connect_async(self.settings.redis_url, self.settings)
        same = self.settings.control_url == self.settings.redis_url
        self._control = self._data if same else connect_async(self.settings.control_url, self.settings)
        self._planes = {"data": self._data, "control": self._control}
        self._queries = QueryEmbedder(self.settings)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """See `MemoryClient.__aenter__`."""
        self._bell.close()
        await self._data.aclose()
        await self._control.aclose()
        await self._queries.close_async()

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
            expected_version: the version this change is based on. Unless the memory still has it, the job fails
                with ConflictError, or the change is merged (see `on_conflict`).
            on_conflict: `last_write_wins` keeps, field by field, the newest submission; `reject` fails
                with ConflictError when a newer submission was there first; `merge` brings both together, field by
                field, a text that both changed through the chat model; `manual` (and `merge` without a chat model)
                lets what both changed wait for `resolve_conflict`.

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
        hard: bool = False,  # the contract's signature
        *,
        actor_id: str | None = None,
        expected_version: int | None = None,
        idempotency_key: str | None = None,
        consistency: str = "eventual",
    ) -> AsyncJob:
        """Hides the memory from every read; its history stays, and `restore` brings it back.

        With `hard`, nothing of the content stays: text, metadata, vector and owners go, the history keeps when, what
        and by whom, and dead letters lose what they held of it. It cannot be undone.
        """
        return await self._submit(
            self._build.delete(
                memory_id,
                hard=hard,
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

    async def batch_update(
        self,
        items: Iterable[Mapping[str, Any]],
        *,
        on_conflict: str = "last_write_wins",
        idempotency_key: str | None = None,
        consistency: str = "eventual",
    ) -> AsyncJob:
        """Many updates under one job; each item succeeds or fails by itself.

        Args:
            items: mappings {memory_id, text, metadata, actor_id, role, expected_version, on_conflict}. An iterator is
                read as it is sent, so that it never sits in memory (with an idempotency key it is read first).
            on_conflict: for items that do not say.

        Raises:
            ValidationError: no item at all, or a list of which every item is refused; other refused items fail
                in the result, in their place.
            ConflictError, NetworkError
        """
        return await self._submit_batch(
            self._batch.update(items, on_conflict=on_conflict, idempotency_key=idempotency_key, consistency=consistency)
        )

    async def batch_delete(
        self,
        items: Iterable[Mapping[str, Any]],
        *,
        hard: bool = False,
        idempotency_key: str | None = None,
        consistency: str = "eventual",
    ) -> AsyncJob:
        """Many deletes under one job: items {memory_id, hard, actor_id, expected_version}; see `batch_update`."""
        return await self._submit_batch(
            self._batch.delete(items, hard=hard, idempotency_key=idempotency_key, consistency=consistency)
        )

    async def batch_add(
        self,
        items: Iterable[Mapping[str, Any]],
        infer: bool = True,  # the contract's signature
        *,
        idempotency_key: str | None = None,
        consistency: str = "eventual",
    ) -> AsyncJob:
        """Many adds under one job: items {messages, user_id, agent_id, run_id, metadata, expires_at}.

        The results follow the items' order, one for each message that became a memory; see `batch_update`.
        """
        return await self._submit_batch(
            self._batch.add(items, infer=infer, idempotency_key=idempotency_key, consistency=consistency)
        )

    def batch(self) -> AsyncCollector:
        """See `MemoryClient.batch`; `async with client.batch() as batch: await batch.update(…)`."""
        return AsyncCollector(self)

    async def purge(self, deleted_before: datetime | str) -> AsyncJob | None:
        """Erases what was deleted or has expired before a moment, as `delete(hard=True)` does; None if nothing was.

        A memory that is restored meanwhile is left alone.

        Raises:
            ValidationError: the moment has no time zone.
        """
        limit = validation.moment(deleted_before, "deleted_before")
        found = await self._run(purging.deleted_ids(self._keys, self.project, limit))
        if not found:
            return None
        return await self._submit_batch(self._batch.documents("purge", purging.erasures(found, limit), MAINTENANCE))

    # Conflicts.

    async def conflicts(self, limit: int = 100) -> list[Conflict]:
        """Submissions that wait for a person's decision, newest first."""
        checked = validation.positive(limit, "limit", MAX_PAGE_SIZE)
        return await self._run(reads.conflicts(self._keys, self.project, checked))

    async def conflict(self, conflict_id: str) -> Conflict:
        """One submission that waits for a person's decision.

        Raises:
            ValidationError: the id is malformed.
            ConflictError: nothing waits under it in this project, or not any more.
        """
        validation.conflict_id(conflict_id)
        return await self._run(reads.conflict(self._keys, self.project, conflict_id))

    async def resolve_conflict(
        self,
        conflict_id: str,
        choice: str,
        *,
        text: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        actor_id: str | None = None,
        expected_version: int | None = None,
        idempotency_key: str | None = None,
        consistency: str = "eventual",
    ) -> AsyncJob:
        """A person's decision; it becomes a history entry with that person as its actor.

        Args:
            choice: `ours` applies the submission that waited, `theirs` leaves the memory as it is, `merged` sets
                `text` and `metadata`.
            expected_version: the memory's, as the person saw it.

        Raises:
            ValidationError, ConflictError, NetworkError
        """
        return await self._submit(
            self._build.resolve(
                conflict_id,
                choice=choice,
                text=text,
                metadata=metadata,
                actor_id=actor_id,
                expected_version=expected_version,
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

    async def dead_letters(
        self,
        limit: int = 100,
        *,
        kind: str | None = None,
        error_code: str | None = None,
        memory_id: str | None = None,
        before: datetime | str | None = None,
        after: datetime | str | None = None,
    ) -> list[DeadLetter]:
        """See `MemoryClient.dead_letters`."""
        wanted = LetterFilter.checked(kind=kind, error_code=error_code, memory_id=memory_id, before=before, after=after)
        checked = validation.positive(limit, "limit", MAX_PAGE_SIZE)
        return await self._run(dead_letters.find(self._keys, self.project, wanted, checked))

    async def dead_letter(self, job_id: str) -> DeadLetter:
        """See `MemoryClient.dead_letter`."""
        job_id = validation.job_id(job_id)
        return await self._run(dead_letters.get(self._keys, self.project, job_id))

    async def replay(self, job_id: str) -> AsyncJob:
        """See `MemoryClient.replay`."""
        job_id = validation.job_id(job_id)
        await self._ring(await self._run(dead_letters.replay(self.settings, self._keys, self.project, job_id)))
        return AsyncJob(self, job_id)

    async def replay_all(
        self,
        *,
        kind: str | None = None,
        error_code: str | None = None,
        memory_id: str | None = None,
        before: datetime | str | None = None,
        after: datetime | str | None = None,
        on_progress: Callable[[DeadLetterProgress], None] | None = None,
    ) -> int:
        """See `MemoryClient.replay_all`."""
        wanted = LetterFilter.checked(kind=kind, error_code=error_code, memory_id=memory_id, before=before, after=after)
        run = await self._run(dead_letters.begin(self._keys, wanted))
        while not run.ended:
            await self._ring(await self._run(dead_letters.replay_page(self.settings, self._keys, self.project, run)))
            if on_progress is not None:
                on_progress(run.progress)
        return run.done

    async def discard(self, job_id: str) -> None:
        """See `MemoryClient.discard`."""
        job_id = validation.job_id(job_id)
        await self._run(dead_letters.discard(self.settings, self._keys, self.project, job_id))

    async def discard_all(
        self,
        *,
        kind: str | None = None,
        error_code: str | None = None,
        memory_id: str | None = None,
        before: datetime | str | None = None,
        after: datetime | str | None = None,
        on_progress: Callable[[DeadLetterProgress], None] | None = None,
    ) -> int:
        """See `MemoryClient.discard_all`."""
        wanted = LetterFilter.checked(kind=kind, error_code=error_code, memory_id=memory_id, before=before, after=after)
        run = await self._run(dead_letters.begin(self._keys, wanted))
        while not run.ended:
            await self._run(dead_letters.discard_page(self.settings, self._keys, self.project, run))
            if on_progress is not None:
                on_progress(run.progress)
        return run.done

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
        vector = await self._queries.embed_async(query)
        return await self._run(reads.search(self._keys, wanted, self.settings.space.field, vector, limit))

    async def history(self, memory_id: str) -> list[HistoryEntry]:
        """See `MemoryClient.history`."""
        return await self._run(reads.history(self._keys, self.project, validation.memory_id(memory_id)))

    async def diagnose(self, memory_id: str) -> Diagnosis:
        """See `MemoryClient.diagnose`."""
        checked = validation.memory_id(memory_id)
        return await self._run(diagnosis_reads.diagnose(self.settings, self._keys, self.project, checked))

    async def health(self) -> health.Health:
        """See `MemoryClient.health`."""
        return await health.check_async(self._planes, self._keys, self.settings)

    # Inside.

    async def _submit(self, request: JobRequest) -> AsyncJob:
        job_id, rings = await self._run(writes.accept(self.settings, self._keys, request))
        await self._ring(rings)
        return await self._accepted(job_id, request.consistency)

    async def _submit_batch(self, request: BatchRequest) -> AsyncJob:
        parts = request.appends(self.settings)
        while True:
            done = await self._run(writes.append(self.settings, self._keys, request, next(parts)))
            await self._ring(done.rings)
            if done.resume:
                request = request.resumed(done.resume)
                parts = request.appends(self.settings, resumed=True)
            elif done.is_over:
                return await self._accepted(done.job_id, request.consistency)

    async def _submit_documents(self, documents: list[Document]) -> AsyncJob:
        return await self._submit_batch(self._batch.documents("batch", documents, BULK))

    async def _accepted(self, job_id: str, consistency: str) -> AsyncJob:
        job = AsyncJob(self, job_id)
        if consistency == "strong":
            await job.wait(timeout=self.settings.task_time_limit, with_results=False)
        return job

    async def _ring(self, shards: list[str]) -> None:
        if shards:
            # Publishing blocks on the broker; only the client that found the bell silent pays for it.
            await asyncio.to_thread(self._bell.ring_each, shards)

    async def _run(self, steps: Steps[T]) -> T:
        return await run_async(self._planes, steps)
