"""`client.batch()`: single calls of a hot path, checked at once and sent together as batch jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from emendo_client import operations
from emendo_client.errors import JobError
from emendo_client.operations import Document, Messages
from emendo_config.queues import BULK

if TYPE_CHECKING:
    from emendo_client.aio_core import AsyncCore
    from emendo_client.aio_job import AsyncJob
    from emendo_client.batches import BatchRequest
    from emendo_client.core import Core
    from emendo_client.job import Job

# Calls sent together at the latest.
MOST_CALLS = 2_048
Build = Callable[..., Document | list[Document]]


class _Calls:
    """The calls, each checked when it is made, and what is sent of them; pure."""

    def __init__(self, client: Core | AsyncCore) -> None:
        self._settings = client.settings
        self._batch = client._batch  # noqa: SLF001  # one unit with its client
        self._documents: list[Document] = []
        self._unsent: BatchRequest | None = None

    @property
    def _is_full(self) -> bool:
        return len(self._documents) >= MOST_CALLS

    def _made(self, build: Build, *given: Any, **named: Any) -> list[Document]:
        made = build(self._settings, *given, **named)
        return made if isinstance(made, list) else [made]

    def _requests(self) -> Iterator[BatchRequest]:
        """What is to be sent, in order: what an earlier flush could not, then what was collected after it.

        Each is kept until the next one is asked for: when it is sent again after a failure, it is the same job, of
        which Redis takes what it does not have yet. So an answer that was lost does no harm.
        """
        if self._unsent is not None:
            yield self._unsent
            self._unsent = None
        if self._documents:
            self._unsent, self._documents = self._batch.documents("batch", self._documents, BULK), []
            yield self._unsent
            self._unsent = None

    def _take_back(self, request: BatchRequest, closed: JobError) -> None:
        """What a job lacks that was closed for want of items goes first into the next one."""
        self._documents[:0] = list(request.documents)[closed.details["accepted"] :]
        self._unsent = None


class Collector(_Calls):
    """Calls like the client's own, without a job each; a context manager that sends what is left at its end.

    Also when the block ends in an exception: what was called before it was meant. When it cannot be sent, that error is
    raised, with the block's behind it, and `flush` may be called after the block.

    Nothing that was collected is lost by an error, nor done twice (within `EMENDO_JOB_TTL`). A call that raises was not
    collected and may be made again: either it is refused itself, or so many calls are together that they must be sent
    first, and cannot be.

    Not thread-safe: each thread takes a collector of its own.

    Attributes:
        jobs: the batch jobs that were accepted.
    """

    def __init__(self, client: Core) -> None:
        super().__init__(client)
        self._client = client
        self.jobs: list[Job] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()

    def flush(self) -> None:
        """Sends what was collected.

        Raises:
            NetworkError, VectorStoreError: what Redis has not confirmed is kept, in order; the next flush sends it
                under the same job id.
            JobError: a job of several parts, of which a flush had sent some, was closed (BATCH_ABANDONED), since the
                next flush came more than `EMENDO_BATCH_IDLE` later. It is in `jobs`; the next flush sends the rest.
        """
        for request in self._requests():
            try:
                self.jobs.append(self._client._submit_batch(request))  # noqa: SLF001
            except JobError as closed:
                self._take_back(request, closed)
                self.jobs.append(self._client._accepted(request.job_id, request.consistency))  # noqa: SLF001
                raise

    def add(
        self,
        messages: Messages,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        expires_at: datetime | str | None = None,
    ) -> None:
        """See `MemoryClient.add`; the messages are stored as they are."""
        whose = {"user_id": user_id, "agent_id": agent_id, "run_id": run_id}
        self._call(operations.adds, messages, metadata=metadata, expires_at=expires_at, **whose)

    def update(
        self,
        memory_id: str,
        text: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        actor_id: str | None = None,
        role: str | None = None,
        expected_version: int | None = None,
        on_conflict: str = "last_write_wins",
    ) -> None:
        """See `MemoryClient.update`."""
        how = {"actor_id": actor_id, "role": role, "expected_version": expected_version, "on_conflict": on_conflict}
        self._call(operations.update, memory_id, text=text, metadata=metadata, **how)

    def delete(
        self, memory_id: str, *, hard: bool = False, actor_id: str | None = None, expected_version: int | None = None
    ) -> None:
        """See `MemoryClient.delete`."""
        self._call(operations.delete, memory_id, hard=hard, actor_id=actor_id, expected_version=expected_version)

    def _call(self, build: Build, *given: Any, **named: Any) -> None:
        made = self._made(build, *given, **named)
        if self._is_full:  # sent before the call is collected, so that one that raises may be made again
            self.flush()
        self._documents += made


class AsyncCollector(_Calls):
    """The asyncio twin of `Collector`: `async with client.batch() as batch: await batch.update(…)`.

    Tasks of one event loop may share it; their calls are collected in the order in which they were begun.
    """

    def __init__(self, client: AsyncCore) -> None:
        super().__init__(client)
        self._client = client
        self._turn, self._sending = asyncio.Lock(), asyncio.Lock()
        self.jobs: list[AsyncJob] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.flush()

    async def flush(self) -> None:
        """See `Collector.flush`."""
        async with self._sending:
            for request in self._requests():
                try:
                    self.jobs.append(await self._client._submit_batch(request))  # noqa: SLF001
                except JobError as closed:
                    self._take_back(request, closed)
                    self.jobs.append(await self._client._accepted(request.job_id, request.consistency))  # noqa: SLF001
                    raise

    async def add(
        self,
        messages: Messages,
        user_id: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        expires_at: datetime | str | None = None,
    ) -> None:
        """See `Collector.add`."""
        whose = {"user_id": user_id, "agent_id": agent_id, "run_id": run_id}
        await self._call(operations.adds, messages, metadata=metadata, expires_at=expires_at, **whose)

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
    ) -> None:
        """See `MemoryClient.update`."""
        how = {"actor_id": actor_id, "role": role, "expected_version": expected_version, "on_conflict": on_conflict}
        await self._call(operations.update, memory_id, text=text, metadata=metadata, **how)

    async def delete(
        self, memory_id: str, *, hard: bool = False, actor_id: str | None = None, expected_version: int | None = None
    ) -> None:
        """See `MemoryClient.delete`."""
        await self._call(operations.delete, memory_id, hard=hard, actor_id=actor_id, expected_version=expected_version)

    async def _call(self, build: Build, *given: Any, **named: Any) -> None:
        made = self._made(build, *given, **named)
        async with self._turn:  # behind calls that wait for a flush, but not for a flush that nobody's call needs
            if self._is_full:
                await self.flush()
            self._documents += made
