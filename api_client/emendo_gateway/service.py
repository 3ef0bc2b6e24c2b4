"""The calls of the async client, within the caller's limits, for every dialect.

Both surfaces call this and nothing below it. A key that is bound to a user sees that user's memories only. Other users'
memories do not exist for it, and what concerns the whole project is refused (KEY_SCOPE).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from emendo_client import AsyncMemoryClient
from emendo_client._async.base import job_begun_by, memories_of, results_page, submit_mixed
from emendo_client._async.job import AsyncJob
from emendo_client._async.writes import delete_found
from emendo_client.errors import EmendoError, JobTimeoutError, MemoryNotFoundError, ValidationError
from emendo_client.exchanges.conflicts import no_conflict
from emendo_client.exchanges.diagnosis.models import Diagnosis
from emendo_client.exchanges.jobs import no_job
from emendo_client.exchanges.memories import no_memory
from emendo_client.exchanges.results import pages as results_pages
from emendo_client.models import (
    Conflict,
    Event,
    HistoryEntry,
    ItemResult,
    JobInfo,
    JobResult,
    JobStatus,
    Memory,
    Page,
    Progress,
    SearchHit,
)
from emendo_client.requests import validation
from emendo_client.requests.filters import scoped
from emendo_config.error_codes import ErrorCode
from emendo_gateway.callers import Caller
from emendo_gateway.project_calls import ProjectCalls, beyond_user
from emendo_gateway.watching import Follower, Stopping, Watch

# Kinds of a user's own jobs that may erase memories.
_ERASING = ("delete", "delete_all", "batch", "batch_delete")


class Service(ProjectCalls):
    """The calls of one caller; cheap to make, one for each request.

    Args:
        client: of the caller's project.
        watch: listens for the ends of jobs.
        reembedding: see `ProjectCalls`.
    """

    def __init__(self, client: AsyncMemoryClient, caller: Caller, watch: Watch, *, reembedding: bool = False) -> None:
        super().__init__(client, caller, reembedding=reembedding)
        self._watch = watch

    # Writes. Each returns the accepted job; see `AsyncMemoryClient` for arguments and errors.

    async def add(
        self,
        messages: Any,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> AsyncJob:
        """Remembers what a conversation says."""
        return await self._client.add(messages, self._user(user_id), agent_id, run_id, metadata, **more)

    async def update(self, memory_id: str, **change: Any) -> AsyncJob:
        """Changes a memory."""
        await self._require_known(memory_id, change.get("idempotency_key"))
        return await self._client.update(memory_id, **change)

    async def delete(self, memory_id: str, *, hard: bool = False, **more: Any) -> AsyncJob:
        """Hides a memory, or erases it."""
        await self._require_known(memory_id, more.get("idempotency_key"))
        return await self._client.delete(memory_id, hard, **more)

    async def restore(self, memory_id: str, version: int | None = None, **more: Any) -> AsyncJob:
        """Brings a memory back."""
        await self._require_known(memory_id, more.get("idempotency_key"))
        return await self._client.restore(memory_id, version, **more)

    async def batch(
        self,
        items: Sequence[Mapping[str, Any]],
        *,
        infer: bool = True,
        idempotency_key: str | None = None,
        consistency: str = "eventual",
    ) -> AsyncJob:
        """Adds, updates and deletes as one job; each item has its `op`, and succeeds or fails by itself."""
        known: dict[str, Memory] = {}
        if self.caller.user_id is not None:
            ids = {item["memory_id"] for item in items if is_memory_id(item.get("memory_id"))}
            known = await memories_of(self._client, sorted(ids))

        def admit(item: Mapping[str, Any]) -> Mapping[str, Any]:
            if self.caller.user_id is None:
                return item
            if item.get("op") == "add":
                if item.get("user_id") not in (None, self.caller.user_id):
                    # A worker would take a key's error for the provider's, and wait for a better one.
                    raise ValidationError("user_id is not the user whose memories the key is for")
                return {**item, "user_id": self.caller.user_id}
            memory = known.get(item.get("memory_id", ""))
            if memory is None:
                raise no_memory(str(item.get("memory_id")))
            self._check_own(memory)
            return item

        return await submit_mixed(
            self._client,
            items,
            admit=admit,
            infer=infer,
            idempotency_key=idempotency_key,
            consistency=consistency,
        )

    async def delete_all(self, user_id: str | None = None, **more: Any) -> AsyncJob | None:
        """Deletes a scope's memories that exist now; None if there is none."""
        return await self._client.delete_all(self._user(user_id), **more)

    async def resolve_conflict(self, conflict_id: str, choice: str, **decision: Any) -> AsyncJob:
        """Applies a person's decision on a conflict."""
        if not await self.has_begun(decision.get("idempotency_key")):
            await self.conflict(conflict_id)
        return await self._client.resolve_conflict(conflict_id, choice, **decision)

    async def batch_update(self, items: Sequence[Mapping[str, Any]], **more: Any) -> AsyncJob:
        """Changes many memories under one job."""
        await self._require_own_all(items)
        return await self._client.batch_update(items, **more)

    async def batch_delete(self, items: Sequence[Mapping[str, Any]], **more: Any) -> AsyncJob:
        """Hides or erases many memories under one job."""
        await self._require_own_all(items)
        return await self._client.batch_delete(items, **more)

    async def delete_found(self, filters: Mapping[str, Any], user_id: str | None = None) -> AsyncJob | None:
        """Hides the memories that the filters find, whomever they belong to; None if there are none."""
        project, user = self._client.project, self._user(user_id)
        wanted = scoped(project, user, None, None, filters, all_users=True, may_be_empty=False)
        return await delete_found(self._client, wanted)

    # Reads.

    async def conflict(self, conflict_id: str) -> Conflict:
        """One submission that waits for a person."""
        conflict = await self._client.conflict(conflict_id)
        try:
            await self._require_own(conflict.memory_id)
        except MemoryNotFoundError:
            raise no_conflict(conflict_id) from None
        return conflict

    async def diagnose(self, memory_id: str) -> Diagnosis:
        """Whether a memory is whole."""
        await self._require_own(memory_id)
        return await self._client.diagnose(memory_id)

    async def get(self, memory_id: str, *, include_deleted: bool = False) -> Memory:
        """One memory."""
        memory = await self._client.get(memory_id, include_deleted=include_deleted)
        self._check_own(memory)
        return memory

    async def get_all(self, user_id: str | None = None, *, all_users: bool = False, **more: Any) -> Page:
        """A scope's memories, page by page."""
        return await self._client.get_all(self._user(user_id), all_users=self._everybody(all_users), **more)

    async def count(self, user_id: str | None = None, *, all_users: bool = False, **more: Any) -> int:
        """The number of a scope's memories."""
        return await self._client.count(self._user(user_id), all_users=self._everybody(all_users), **more)

    async def search(
        self, query: str, user_id: str | None = None, *, all_users: bool = False, **more: Any
    ) -> list[SearchHit]:
        """A scope's memories that are nearest to a query."""
        return await self._client.search(query, self._user(user_id), all_users=self._everybody(all_users), **more)

    async def history(self, memory_id: str) -> list[HistoryEntry]:
        """Every change of a memory, oldest first."""
        await self._require_own(memory_id)
        return await self._client.history(memory_id)

    # Jobs.

    async def has_begun(self, idempotency_key: str | None) -> bool:
        """True when an earlier request with this key was accepted: it must be answered as that one was."""
        if idempotency_key is None:
            return False
        return await job_begun_by(self._client, idempotency_key) is not None

    async def job(self, job_id: str) -> tuple[AsyncJob, JobInfo]:
        """A job, and its state now.

        Raises:
            JobNotFoundError: the caller has no such job.
        """
        job = await self._client.job(job_id)
        info = await job.info()
        await self._require_own_job(info)
        return job, info

    async def progress(self, job_id: str) -> Progress:
        """How much of a job is done."""
        job, _ = await self.job(job_id)
        return await job.progress()

    async def results(self, job_id: str, page: int) -> tuple[list[ItemResult], int]:
        """One page of a job's items, which count from 0, and the number of pages."""
        _, info = await self.job(job_id)
        return await results_page(self._client, info, page), results_pages(info)

    async def cancel(self, job_id: str, seconds: float) -> bool:
        """Cancels a job; see `AsyncJob.cancel`."""
        job, _ = await self.job(job_id)
        try:
            return await job.cancel(0)
        except JobTimeoutError:
            result = await self.wait(job, seconds)
            if result is None:
                raise
            return result.status is JobStatus.CANCELLED

    async def wait(self, job: AsyncJob, seconds: float) -> JobResult | None:
        """The job's result; None if it has none in time, or the gateway stops."""
        info = await job.info()
        if not info.status.is_final and not await self._ends(job.id, seconds):
            return None
        return await job.wait(0)

    async def _ends(self, job_id: str, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds), self.following(job_id, closely=False) as follower:
                while not (await follower.next()).status.is_final:
                    pass
        except (TimeoutError, Stopping):
            return False
        return True

    def following(self, job_id: str, *, closely: bool) -> AbstractAsyncContextManager[Follower]:
        """Follows a job that the caller has; see `Watch.following`."""
        return self._watch.following(self.caller.project, job_id, closely=closely)

    # The limits of a key that is bound to a user.

    def _user(self, user_id: str | None) -> str | None:
        bound = self.caller.user_id
        if bound is None or user_id == bound:
            return user_id
        if user_id is not None:
            raise beyond_user()
        return bound

    def _everybody(self, all_users: bool) -> bool:
        return all_users and self.caller.user_id is None

    def _check_own(self, memory: Memory) -> None:
        if self.caller.user_id not in (None, memory.user_id):
            raise no_memory(memory.id)

    async def _require_known(self, memory_id: str, idempotency_key: str | None) -> None:
        """Refuses an id that the caller has nothing under, before a job is accepted that could only fail.

        Raises:
            MemoryNotFoundError: no such memory; or it is erased, unless this request is the repeat that did it.
        """
        try:
            await self.get(memory_id, include_deleted=True)
        except MemoryNotFoundError:
            if not await self.has_begun(idempotency_key):
                raise

    async def _require_own(self, memory_id: str) -> None:
        if self.caller.user_id is not None:
            await self.get(memory_id, include_deleted=True)

    async def _require_own_all(self, items: Sequence[Mapping[str, Any]]) -> None:
        if self.caller.user_id is None:
            return
        ids = sorted({validation.memory_id(item.get("memory_id")) for item in items})
        known = await memories_of(self._client, ids)
        for memory_id in ids:
            if memory_id not in known:
                raise no_memory(memory_id)
            self._check_own(known[memory_id])

    async def _require_own_job(self, info: JobInfo) -> None:
        """A job is the user's if all memories that it names are; one that is not there must not be told of.

        An item that found no memory is passed over, also if another user has one under its id. Else a job that is
        accepted would be unknown, and the answer would tell which ids there are.
        """
        if self.caller.user_id is None:
            return
        items = list(info.results)
        for page in range(results_pages(info) if info.chunks else 0):
            items += await results_page(self._client, info, page)
        unfound = {item.memory_id for item in items if _is_unfound(item)}
        named = {item.memory_id for item in items if not _is_unfound(item)}
        named |= {info.memory_id or ""} - unfound
        telling = {item.memory_id for item in items if _tells(item, info.kind)}
        ids = sorted(named - {""})
        known = await memories_of(self._client, ids)
        for memory_id in ids:
            memory = known.get(memory_id)
            if memory_id in telling if memory is None else memory.user_id != self.caller.user_id:
                raise no_job(info.job_id)


def _is_unfound(item: ItemResult) -> bool:
    return item.error is not None and item.error.get("code") == ErrorCode.MEMORY_NOT_FOUND


def _tells(item: ItemResult, kind: str) -> bool:
    """True for an item with an effect that a memory still shows, or that no user's own job can have."""
    return item.error is None and not (item.event is Event.DELETE and kind in _ERASING)


def is_memory_id(value: Any) -> bool:
    """True for the id of a memory, in the form that it is stored under."""
    try:
        return bool(validation.memory_id(value) == value)
    except EmendoError:
        return False
