# Generated from _async/batch.py by `python tools/async_to_sync.py`: change that file, then run the command.
"""`client.batch()`: single calls of a hot path, checked at once and sent together as batch jobs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from emendo_client.errors import JobError
from emendo_client.requests.collected import CollectedCalls
from emendo_client.requests.operations import Document, Messages
from emendo_client.transport.blocking import turns

if TYPE_CHECKING:
    from emendo_client._sync.base import BaseClient
    from emendo_client._sync.job import Job


class BatchWriter:
    """The client's calls without a job each; a context manager that sends what is left at its end.

    It also sends when the block ends in an exception: the calls before it were meant. If they cannot be sent, that
    error is raised, with the block's as its context, and `flush` may be called after the block.

    No error loses a collected call, nor applies it twice (within `EMENDO_JOB_TTL`). A call that raises was not
    collected and may be repeated. Either it is refused itself, or the collected calls had to be sent first, and could
    not be.

    Not thread-safe: each thread takes a writer of its own.

    Attributes:
        jobs: the batch jobs that were accepted.
    """

    def __init__(self, client: BaseClient) -> None:
        self._client = client
        self._operations = client._operations
        self._calls = CollectedCalls(client._batches)
        self._collecting, self._sending = turns(), turns()
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
            JobError: a job was closed before its last part was sent (BATCH_ABANDONED): this flush came more than
                `EMENDO_BATCH_IDLE` seconds after the part before. The job is in `jobs`; the next flush sends the rest.
        """
        with self._sending:
            for request in self._calls.requests():
                try:
                    self.jobs.append(self._client._submit_batch(request))
                except JobError as closed:
                    self._calls.take_back(request, closed.details["accepted"])
                    self.jobs.append(self._client._accepted(request.job_id, request.consistency))
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
        documents = self._operations.add(
            messages, user_id, agent_id, run_id, metadata, infer=False, expires_at=expires_at
        )
        self._collect(documents)

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
        documents = self._operations.update(
            memory_id,
            text,
            metadata,
            actor_id=actor_id,
            role=role,
            expected_version=expected_version,
            on_conflict=on_conflict,
        )
        self._collect(documents)

    def delete(
        self, memory_id: str, *, hard: bool = False, actor_id: str | None = None, expected_version: int | None = None
    ) -> None:
        """See `MemoryClient.delete`."""
        documents = self._operations.delete(memory_id, hard, actor_id=actor_id, expected_version=expected_version)
        self._collect(documents)

    def _collect(self, documents: list[Document]) -> None:
        # A call waits for a flush only if there is no room for it, and behind calls that wait for such a flush.
        with self._collecting:
            if self._calls.is_full:  # sent before the call is collected, so that one that raises may be repeated
                self.flush()
            self._calls.collect(documents)
