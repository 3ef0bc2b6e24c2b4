"""The asyncio client: the same requests and conversations as the synchronous one, awaited."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from emendo_client import dead_letters, diagnosis_reads, health, project_rules, reads, validation
from emendo_client.aio_job import AsyncJob
from emendo_client.aio_reembedding_calls import AsyncReembedding
from emendo_client.aio_submitting import AsyncSubmitting
from emendo_client.dead_letters import LetterFilter
from emendo_client.diagnosis import Diagnosis
from emendo_client.filters import scoped
from emendo_client.models import (
    DeadLetter,
    DeadLetterProgress,
    HistoryEntry,
    JobInfo,
    JobStatus,
    Memory,
    Page,
    ProjectRules,
    SearchHit,
)
from emendo_client.reads import MAX_PAGE, MAX_PAGE_SIZE, MAX_SEARCH_LIMIT


class AsyncMemoryClient(AsyncSubmitting, AsyncReembedding):
    """`MemoryClient` for asyncio: the same methods and errors, awaited. Use it from one event loop.

    Args:
        settings: default: read from the environment.
        project: default: the settings' project. Nothing this client does reaches another project.
    """

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
        return await self._nearest(query, wanted, limit)

    async def history(self, memory_id: str) -> list[HistoryEntry]:
        """See `MemoryClient.history`."""
        return await self._run(reads.history(self._keys, self.project, validation.memory_id(memory_id)))

    async def diagnose(self, memory_id: str) -> Diagnosis:
        """See `MemoryClient.diagnose`."""
        checked = validation.memory_id(memory_id)
        return await self._run(diagnosis_reads.diagnose(self.settings, self._keys, self.project, checked))

    async def health(self) -> health.Health:
        """See `MemoryClient.health`."""
        return await health.check_async(self._planes, self._keys)

    # Rules.

    async def project_rules(self) -> ProjectRules:
        """See `MemoryClient.project_rules`."""
        return await self._run(project_rules.get(self._keys, self.project))

    async def set_project_rules(
        self, *, instructions: str | None = None, categories: Sequence[str] | None = None
    ) -> ProjectRules:
        """See `MemoryClient.set_project_rules`."""
        return await self._run(project_rules.put(self._keys, self.project, instructions, categories))
