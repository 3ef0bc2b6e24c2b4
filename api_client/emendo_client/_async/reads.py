"""The asyncio client's reads: memories, their history, searches, and the list of jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from emendo_client._async.base import AsyncBaseClient
from emendo_client._async.job import AsyncJob
from emendo_client.exchanges import histories, jobs, listing, memories
from emendo_client.exchanges.diagnosis import read
from emendo_client.exchanges.diagnosis.models import Diagnosis
from emendo_client.exchanges.memories import MAX_SEARCH_LIMIT, SEARCH_MODES
from emendo_client.models import HistoryEntry, JobInfo, JobStatus, Memory, OwnerPage, Page, SearchHit
from emendo_client.requests import content, listings, validation
from emendo_client.requests.filters import scoped
from emendo_client.requests.listings import MAX_PAGE_SIZE
from emendo_client.spans import note_found, searching


class AsyncReads(AsyncBaseClient):
    """Reads memories and jobs; see `AsyncMemoryClient`."""

    async def get(self, memory_id: str, *, include_deleted: bool = False) -> Memory:
        """One memory.

        Raises:
            MemoryNotFoundError: no such memory in this project, or it is deleted or expired.
        """
        checked = validation.memory_id(memory_id)
        validation.flag(include_deleted, "include_deleted")
        return await self._run(memories.get(self._keys, self.project, checked, include_deleted=include_deleted))

    async def get_all(
        self,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        *,
        filters: Mapping[str, Any] | None = None,
        order: str = "-created_at",
        limit: int | None = None,
        cursor: str | None = None,
        page: int = 1,
        page_size: int = 100,
        all_users: bool = False,
        include_deleted: bool = False,
    ) -> Page:
        """A scope's memories, newest first.

        Read on with `cursor=page.next_cursor`: no memory that stays is skipped or comes twice, however many come and go
        meanwhile. By `updated_at`, a memory that is changed meanwhile moves. A page by its number shifts with each
        change, and Redis finds none beyond its first million memories.

        Args:
            order: `created_at` or `updated_at`, with a minus for the newest first. Ids order memories of one time.
            limit: the same as `page_size`, before which it goes.
            cursor: the `next_cursor` of a page with the same scope, filters and order.
            filters: further conditions, such as `{"role": "user"}` or `{"metadata": {"price": {"gte": 5}}}`. A list
                means any of its values; all conditions must hold. docs/how-to/filter.md has the operators.
            page: from 1. page_size: up to 1,000.
            all_users: read the whole project instead of a scope.
            include_deleted: also memories that are deleted or expired and not erased.

        Raises:
            ValidationError: no scope and not `all_users`, a filter that cannot be read, or another listing's cursor.
        """
        asked = listings.listing(
            self.project,
            scoped(self.project, user_id, agent_id, run_id, filters, all_users=all_users),
            order=order,
            limit=limit,
            cursor=cursor,
            page=page,
            page_size=page_size,
            include_deleted=include_deleted,
        )
        return await self._run(listing.get_all(self._keys, self._clock, asked))

    async def iter_all(
        self,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        *,
        filters: Mapping[str, Any] | None = None,
        order: str = "-created_at",
        page_size: int = 1_000,
        all_users: bool = False,
        include_deleted: bool = False,
    ) -> AsyncIterator[Memory]:
        """All of a scope's memories, one after the other, read page by page; see `get_all`.

        Raises:
            ValidationError: at the first memory: no scope and not `all_users`, or a filter that cannot be read.
        """
        cursor = None
        while True:
            page = await self.get_all(
                user_id,
                agent_id,
                run_id,
                filters=filters,
                order=order,
                cursor=cursor,
                page_size=page_size,
                all_users=all_users,
                include_deleted=include_deleted,
            )
            for memory in page.results:
                yield memory
            cursor = page.next_cursor
            if cursor is None:
                return

    async def count(
        self,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        *,
        filters: Mapping[str, Any] | None = None,
        all_users: bool = False,
        include_deleted: bool = False,
    ) -> int:
        """The number of a scope's memories, without reading them; see `get_all`.

        Raises:
            ValidationError: no scope and not `all_users`, or a filter that cannot be read.
        """
        validation.flag(include_deleted, "include_deleted")
        wanted = scoped(self.project, user_id, agent_id, run_id, filters, all_users=all_users)
        return await self._run(listing.count(self._keys, self._clock, wanted, include_deleted=include_deleted))

    async def users(self, *, limit: int = 100, cursor: str | None = None) -> OwnerPage:
        """The project's users who have memories, by their ids, each with the number of them.

        Redis looks at every memory of the project for each page: about a tenth of a second for 100,000.

        Args:
            limit: up to 1,000.
            cursor: the `next_cursor` of a page of users.

        Raises:
            ValidationError: the cursor of another listing.
        """
        return await self._owners("user_id", limit, cursor)

    async def agents(self, *, limit: int = 100, cursor: str | None = None) -> OwnerPage:
        """The project's agents that have memories; see `users`."""
        return await self._owners("agent_id", limit, cursor)

    async def runs(self, *, limit: int = 100, cursor: str | None = None) -> OwnerPage:
        """The project's runs that have memories; see `users`."""
        return await self._owners("run_id", limit, cursor)

    async def _owners(self, name: str, limit: int, cursor: str | None) -> OwnerPage:
        asked = listings.owner_listing(self.project, name, limit, cursor)
        everything = scoped(self.project, None, None, None, None, all_users=True)
        return await self._run(listing.owners(self._keys, self._clock, everything, asked))

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
        mode: str = "vector",
        threshold: float | None = None,
    ) -> list[SearchHit]:
        """The scope's memories nearest in meaning to the query, nearest first.

        Args:
            limit: up to 1,000.
            mode: `hybrid` also finds memories by the words of the query: names, numbers and codes that vectors miss.
                The two rankings are merged. It needs `EMENDO_INDEX_TEXT`.
            threshold: the smallest score of a hit; see `SearchHit`.
            filters, all_users: see `get_all`.

        Raises:
            ValidationError: no scope and not `all_users`, or a filter that cannot be read.
            EmbeddingError, NetworkError: the query cannot be embedded.
            VectorStoreError: there is no index yet.
            ConfigurationError: the index is of no registered embedding space, or holds no words.
        """
        query = content.text(query, "query", self.settings)
        wanted = scoped(self.project, user_id, agent_id, run_id, filters, all_users=all_users)
        limit = validation.positive(limit, "limit", MAX_SEARCH_LIMIT)
        mode = validation.one_of(mode, "mode", SEARCH_MODES)
        threshold = validation.number(threshold, "threshold")
        with searching(self.settings, self.project) as span:
            hits = await self._nearest(query, wanted, limit, by_words=mode == "hybrid")
            if threshold is not None:
                hits = [hit for hit in hits if hit.score >= threshold]
            note_found(span, len(hits))
        return hits

    async def history(self, memory_id: str) -> list[HistoryEntry]:
        """Every change of the memory, oldest first; also of a deleted one.

        Raises:
            MemoryNotFoundError: no such memory in this project.
        """
        return await self._run(histories.history(self._keys, self.project, validation.memory_id(memory_id)))

    async def diagnose(self, memory_id: str) -> Diagnosis:
        """Whether one memory is whole: hash, vector, index and history agree. Also for a deleted one.

        Raises:
            MemoryNotFoundError: no such memory in this project.
            VectorStoreError: there is no index yet.
        """
        checked = validation.memory_id(memory_id)
        return await self._run(read.diagnose(self.settings, self._keys, self.project, checked))

    async def job(self, job_id: str) -> AsyncJob:
        """The handle of an accepted job.

        Raises:
            JobNotFoundError: the id was never accepted in this project, or its record expired.
        """
        handle = AsyncJob(self, validation.job_id(job_id))
        await handle.info()
        return handle

    async def jobs(self, status: JobStatus | str | None = None, limit: int = 100) -> list[JobInfo]:
        """The project's jobs, newest first: all of them, or those in one state.

        Args:
            limit: up to 1,000.
        """
        wanted = None if status is None else JobStatus(validation.one_of(status, "status", list(JobStatus)))
        checked = validation.positive(limit, "limit", MAX_PAGE_SIZE)
        return await self._run(jobs.find(self._keys, self.project, wanted, checked))
