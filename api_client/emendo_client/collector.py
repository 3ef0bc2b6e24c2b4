"""`client.batch()`: single calls of a hot path, checked at once and sent together as batch jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from emendo_client import operations
from emendo_client.operations import Document, Messages

if TYPE_CHECKING:
    from emendo_client.aio_core import AsyncCore
    from emendo_client.aio_job import AsyncJob
    from emendo_client.core import Core
    from emendo_client.job import Job
    from emendo_config import Settings

# Calls sent together at the latest.
MOST_CALLS = 2_048


class _Calls:
    """The calls, each checked when it is made; pure."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._documents: list[Document] = []

    def _take(self) -> list[Document]:
        taken, self._documents = self._documents, []
        return taken

    def _put(self, build: Callable[..., Document | list[Document]], *given: Any, **named: Any) -> bool:
        """Keeps one call; True when it is time to send."""
        made = build(*given, **named)
        self._documents += made if isinstance(made, list) else [made]
        return len(self._documents) >= MOST_CALLS


class Collector(_Calls):
    """Calls like the client's own, without a job each; a context manager that sends what is left at its end.

    Also when the block ends in an exception: what was called before it was meant.

    Attributes:
        jobs: the batch jobs that were accepted.
    """

    def __init__(self, client: Core) -> None:
        super().__init__(client.settings)
        self._client = client
        self.jobs: list[Job] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()

    def flush(self) -> None:
        """Sends what was collected."""
        if self._documents:
            self.jobs.append(self._client._submit_documents(self._take()))  # noqa: SLF001  # one unit with its client

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

    def _call(self, build: Callable[..., Document | list[Document]], *given: Any, **named: Any) -> None:
        if self._put(build, self._settings, *given, **named):
            self.flush()


class AsyncCollector(_Calls):
    """The asyncio twin of `Collector`: `async with client.batch() as batch: await batch.update(…)`."""

    def __init__(self, client: AsyncCore) -> None:
        super().__init__(client.settings)
        self._client = client
        self.jobs: list[AsyncJob] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.flush()

    async def flush(self) -> None:
        """See `Collector.flush`."""
        if self._documents:
            self.jobs.append(await self._client._submit_documents(self._take()))  # noqa: SLF001

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

    async def _call(self, build: Callable[..., Document | list[Document]], *given: Any, **named: Any) -> None:
        if self._put(build, self._settings, *given, **named):
            await self.flush()
