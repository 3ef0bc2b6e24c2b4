"""The synchronous client: enqueue, follow, read."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self, TypeVar

from emendo_client import health, reads, validation, writes
from emendo_client.bell import Bell
from emendo_client.filters import scoped
from emendo_client.job import Job
from emendo_client.models import HistoryEntry, JobInfo, JobStatus, Memory, Page, SearchHit
from emendo_client.requests import JobRequest, RequestBuilder
from emendo_client.steps import Steps, run
from emendo_config import Keys, Settings
from emendo_config.redis_io import connect

if TYPE_CHECKING:
    from emendo_client.embeddings import Embedder

T = TypeVar("T")
MAX_PAGE_SIZE = 1_000
MAX_PAGE = 1_000_000
MAX_SEARCH_LIMIT = 1_000
Messages = str | Mapping[str, Any] | Sequence[Mapping[str, Any]]


class MemoryClient:
    """Adds, updates, deletes, restores and reads the memories of one project. Thread-safe.

    Writes return a `Job` as soon as Redis has accepted it; workers carry it out. Bad input raises
    ValidationError before anything is enqueued; an unreachable Redis raises NetworkError within
    `EMENDO_REDIS_TIMEOUT` and leaves no job behind.

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
        self._data = connect(self.settings.redis_url, self.settings)
        same = self.settings.control_url == self.settings.redis_url
        self._control = self._data if same else connect(self.settings.control_url, self.settings)
        self._planes = {"data": self._data, "control": self._control}
        self._lock = threading.Lock()
        self._embedder: Embedder | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes all connections; the client cannot be used afterwards."""
        self._bell.close()
        self._data.close()
        self._control.close()
        if self._embedder is not None:
            self._embedder.close()

    # Writes.

    def add(
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
    ) -> Job:
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
        return self._submit(
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
        idempotency_key: str | None = None,
        consistency: str = "eventual",
    ) -> Job:
        """Replaces the text, merges the metadata (a key set to None is removed), or both.

        Args:
            expected_version: the job fails with ConflictError unless the memory has this version.
            on_conflict: `last_write_wins` keeps, field by field, the newest submission; `reject` fails
                with ConflictError when a newer submission was there first.

        Raises:
            ValidationError, ConflictError, NetworkError
        """
        return self._submit(
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

    def delete(
        self,
        memory_id: str,
        *,
        actor_id: str | None = None,
        expected_version: int | None = None,
        idempotency_key: str | None = None,
        consistency: str = "eventual",
    ) -> Job:
        """Hides the memory from every read; its history stays, and `restore` brings it back."""
        return self._submit(
            self._build.delete(
                memory_id,
                actor_id=actor_id,
                expected_version=expected_version,
                idempotency_key=idempotency_key,
                consistency=consistency,
            )
        )

    def restore(
        self,
        memory_id: str,
        version: int | None = None,
        *,
        actor_id: str | None = None,
        idempotency_key: str | None = None,
        consistency: str = "eventual",
    ) -> Job:
        """Brings a deleted memory back; with `version`, text and metadata as they were then."""
        return self._submit(
            self._build.restore(
                memory_id,
                version=version,
                actor_id=actor_id,
                idempotency_key=idempotency_key,
                consistency=consistency,
            )
        )

    # Jobs.

    def job(self, job_id: str) -> Job:
        """The handle of an accepted job.

        Raises:
            JobNotFoundError: the id was never accepted in this project, or its record expired.
        """
        handle = Job(self, validation.job_id(job_id))
        handle.info()
        return handle

    def jobs(self, status: JobStatus | str | None = None, limit: int = 100) -> list[JobInfo]:
        """The newest jobs, newest first, all or those in one state."""
        wanted = None if status is None else JobStatus(validation.one_of(status, "status", list(JobStatus)))
        checked = validation.positive(limit, "limit", MAX_PAGE_SIZE)
        return self._run(reads.jobs(self._keys, self.project, wanted, checked))

    def dead_letters(self, limit: int = 100) -> list[JobInfo]:
        """Jobs that failed for good and wait for `replay` or `discard`, newest first."""
        checked = validation.positive(limit, "limit", MAX_PAGE_SIZE)
        return self._run(reads.dead_letters(self._keys, self.project, checked))

    def replay(self, job_id: str) -> Job:
        """Puts a dead letter back to work under its own id: effects it already had stay single."""
        job_id = validation.job_id(job_id)
        self._ring(self._run(writes.replay(self.settings, self._keys, self.project, job_id)))
        return Job(self, job_id)

    def discard(self, job_id: str) -> None:
        """Gives a dead letter up and drops its payload."""
        job_id = validation.job_id(job_id)
        self._run(writes.discard(self.settings, self._keys, self.project, job_id))

    # Reads.

    def get(self, memory_id: str, *, include_deleted: bool = False) -> Memory:
        """One memory.

        Raises:
            MemoryNotFoundError: no such memory in this project, or it is deleted or expired.
        """
        checked = validation.memory_id(memory_id)
        validation.flag(include_deleted, "include_deleted")
        return self._run(reads.get(self._keys, self.project, checked, include_deleted=include_deleted))

    def get_all(
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
        """A scope's memories, newest first.

        Args:
            filters: see `emendo_client.filters.scoped`.
            page: from 1. page_size: up to 1,000.
            all_users: read the whole project instead of a scope.
        """
        wanted = scoped(self.project, user_id, agent_id, run_id, filters, all_users=all_users)
        page = validation.positive(page, "page", MAX_PAGE)
        page_size = validation.positive(page_size, "page_size", MAX_PAGE_SIZE)
        return self._run(reads.get_all(self._keys, wanted, page, page_size))

    def search(
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
        """The scope's memories nearest in meaning to the query, nearest first.

        Raises:
            ValidationError; EmbeddingError or NetworkError: the query cannot be embedded;
            VectorStoreError: there is no index yet.
        """
        query = validation.text(query, "query", self.settings)
        wanted = scoped(self.project, user_id, agent_id, run_id, filters, all_users=all_users)
        limit = validation.positive(limit, "limit", MAX_SEARCH_LIMIT)
        vector = self._embed(query)
        return self._run(reads.search(self._keys, wanted, self.settings.space.field, vector, limit))

    def history(self, memory_id: str) -> list[HistoryEntry]:
        """Every change of the memory, oldest first; also of a deleted one."""
        return self._run(reads.history(self._keys, self.project, validation.memory_id(memory_id)))

    def health(self) -> health.Health:
        """What this client can reach; never raises for what it cannot."""
        return health.check(self._planes, self._keys)

    # Inside.

    def _submit(self, request: JobRequest) -> Job:
        job_id, shard = self._run(writes.accept(self.settings, self._keys, request))
        self._ring(shard)
        job = Job(self, job_id)
        if request.consistency == "strong":
            job.wait(timeout=self.settings.task_time_limit)
        return job

    def _ring(self, shard: int | None) -> None:
        if shard is not None:
            self._bell.ring(shard)

    def _run(self, steps: Steps[T]) -> T:
        return run(self._planes, steps)

    def _embed(self, query: str) -> bytes:
        with self._lock:
            if self._embedder is None:
                from emendo_client.embeddings import create_embedder

                self._embedder = create_embedder(self.settings)
        return self._embedder.embed([query]).vectors[0]
