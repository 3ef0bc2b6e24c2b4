"""The synchronous client: enqueue, follow, read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Self, TypeVar

from emendo_client import dead_letters, diagnosis_reads, health, purging, reads, validation, writes
from emendo_client.batches import BatchBuilder, BatchRequest
from emendo_client.bell import Bell
from emendo_client.collector import Collector
from emendo_client.dead_letters import LetterFilter
from emendo_client.diagnosis import Diagnosis
from emendo_client.embeddings.queries import QueryEmbedder
from emendo_client.filters import scoped
from emendo_client.job import Job
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
from emendo_client.steps import Steps, run
from emendo_config import Keys, Settings
from emendo_config.queues import BULK, MAINTENANCE
from emendo_config.redis_io import connect

T = TypeVar("T")
MAX_PAGE_SIZE = 1_000
MAX_PAGE = 1_000_000
MAX_SEARCH_LIMIT = 1_000


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
        self._batch = BatchBuilder(self.settings, self.project)
        self._bell = Bell(self.settings)
        self._data = connect(self.settings.redis_url, self.settings)
        same = self.settings.control_url == self.settings.redis_url
        self._control = self._data if same else connect(self.settings.control_url, self.settings)
        self._planes = {"data": self._data, "control": self._control}
        self._queries = QueryEmbedder(self.settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes all connections; the client cannot be used afterwards."""
        self._bell.close()
        self._data.close()
        self._control.close()
        self._queries.close()

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
            expected_version: the version this change is based on. Unless the memory still has it, the job fails
                with ConflictError, or the change is merged (see `on_conflict`).
            on_conflict: `last_write_wins` keeps, field by field, the newest submission; `reject` fails
                with ConflictError when a newer submission was there first; `merge` brings both together, field by
                field, a text that both changed through the chat model; `manual` (and `merge` without a chat model)
                lets what both changed wait for `resolve_conflict`.

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
        hard: bool = False,  # the contract's signature
        *,
        actor_id: str | None = None,
        expected_version: int | None = None,
        idempotency_key: str | None = None,
        consistency: str = "eventual",
    ) -> Job:
        """Hides the memory from every read; its history stays, and `restore` brings it back.

        With `hard`, nothing of the content stays: text, metadata, vector and owners go, the history keeps when, what
        and by whom, and dead letters lose what they held of it. It cannot be undone.
        """
        return self._submit(
            self._build.delete(
                memory_id,
                hard=hard,
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

    def batch_update(
        self,
        items: Iterable[Mapping[str, Any]],
        *,
        on_conflict: str = "last_write_wins",
        idempotency_key: str | None = None,
        consistency: str = "eventual",
    ) -> Job:
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
        return self._submit_batch(
            self._batch.update(items, on_conflict=on_conflict, idempotency_key=idempotency_key, consistency=consistency)
        )

    def batch_delete(
        self,
        items: Iterable[Mapping[str, Any]],
        *,
        hard: bool = False,
        idempotency_key: str | None = None,
        consistency: str = "eventual",
    ) -> Job:
        """Many deletes under one job: items {memory_id, hard, actor_id, expected_version}; see `batch_update`."""
        return self._submit_batch(
            self._batch.delete(items, hard=hard, idempotency_key=idempotency_key, consistency=consistency)
        )

    def batch_add(
        self,
        items: Iterable[Mapping[str, Any]],
        infer: bool = True,  # the contract's signature
        *,
        idempotency_key: str | None = None,
        consistency: str = "eventual",
    ) -> Job:
        """Many adds under one job: items {messages, user_id, agent_id, run_id, metadata, expires_at}.

        The results follow the items' order, one for each message that became a memory; see `batch_update`.
        """
        return self._submit_batch(
            self._batch.add(items, infer=infer, idempotency_key=idempotency_key, consistency=consistency)
        )

    def batch(self) -> Collector:
        """Collects single calls into batch jobs: `with client.batch() as batch: batch.update(…)`, then `batch.jobs`.

        A call is checked when it is made, and accepted when the block ends or some thousand calls are together.
        """
        return Collector(self)

    def purge(self, deleted_before: datetime | str) -> Job | None:
        """Erases what was deleted or has expired before a moment, as `delete(hard=True)` does; None if nothing was.

        A memory that is restored meanwhile is left alone.

        Raises:
            ValidationError: the moment has no time zone.
        """
        limit = validation.moment(deleted_before, "deleted_before")
        found = self._run(purging.deleted_ids(self._keys, self.project, limit))
        if not found:
            return None
        return self._submit_batch(self._batch.documents("purge", purging.erasures(found, limit), MAINTENANCE))

    # Conflicts.

    def conflicts(self, limit: int = 100) -> list[Conflict]:
        """Submissions that wait for a person's decision, newest first."""
        checked = validation.positive(limit, "limit", MAX_PAGE_SIZE)
        return self._run(reads.conflicts(self._keys, self.project, checked))

    def conflict(self, conflict_id: str) -> Conflict:
        """One submission that waits for a person's decision.

        Raises:
            ValidationError: the id is malformed.
            ConflictError: nothing waits under it in this project, or not any more.
        """
        validation.conflict_id(conflict_id)
        return self._run(reads.conflict(self._keys, self.project, conflict_id))

    def resolve_conflict(
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
    ) -> Job:
        """A person's decision; it becomes a history entry with that person as its actor.

        Args:
            choice: `ours` applies the submission that waited, `theirs` leaves the memory as it is, `merged` sets
                `text` and `metadata`.
            expected_version: the memory's, as the person saw it.

        Raises:
            ValidationError, ConflictError, NetworkError
        """
        return self._submit(
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

    def dead_letters(
        self,
        limit: int = 100,
        *,
        kind: str | None = None,
        error_code: str | None = None,
        memory_id: str | None = None,
        before: datetime | str | None = None,
        after: datetime | str | None = None,
    ) -> list[DeadLetter]:
        """Jobs that failed for good and wait for `replay` or `discard`, with their payload, newest first.

        Args:
            kind: of the job, such as `update`.
            error_code: of the first error the job died of, such as `MEMORY_NOT_FOUND`.
            memory_id: one of the memories the job was to change.
            before, after: with a time zone; the job died before the first, and at or after the second.

        Raises:
            ValidationError, NetworkError
        """
        wanted = LetterFilter.checked(kind=kind, error_code=error_code, memory_id=memory_id, before=before, after=after)
        checked = validation.positive(limit, "limit", MAX_PAGE_SIZE)
        return self._run(dead_letters.find(self._keys, self.project, wanted, checked))

    def dead_letter(self, job_id: str) -> DeadLetter:
        """One dead letter.

        Raises:
            JobNotFoundError: no such job. JobError: it is not dead-lettered.
        """
        job_id = validation.job_id(job_id)
        return self._run(dead_letters.get(self._keys, self.project, job_id))

    def replay(self, job_id: str) -> Job:
        """Puts a dead letter back to work under its own id: effects it already had stay single.

        A batch job's id stands for all its dead chunks.

        Raises:
            JobNotFoundError: no such job. JobError: it is not dead-lettered.
        """
        job_id = validation.job_id(job_id)
        self._ring(self._run(dead_letters.replay(self.settings, self._keys, self.project, job_id)))
        return Job(self, job_id)

    def replay_all(
        self,
        *,
        kind: str | None = None,
        error_code: str | None = None,
        memory_id: str | None = None,
        before: datetime | str | None = None,
        after: datetime | str | None = None,
        on_progress: Callable[[DeadLetterProgress], None] | None = None,
    ) -> int:
        """Replays the project's dead letters that match; all of them when nothing is given. Returns how many.

        Takes the letters there are now, oldest first: one that dies again meanwhile is not replayed again, and
        of two calls at once each letter is replayed by one. A call that was interrupted is simply made again.

        Args:
            kind, error_code, memory_id, before, after: see `dead_letters`.
            on_progress: called after every few hundred letters.

        Raises:
            ValidationError, NetworkError
        """
        wanted = LetterFilter.checked(kind=kind, error_code=error_code, memory_id=memory_id, before=before, after=after)
        run = self._run(dead_letters.begin(self._keys, wanted))
        while not run.ended:
            self._ring(self._run(dead_letters.replay_page(self.settings, self._keys, self.project, run)))
            if on_progress is not None:
                on_progress(run.progress)
        return run.done

    def discard(self, job_id: str) -> None:
        """Gives a dead letter up and drops its payload; a batch job's id stands for all its dead chunks.

        Raises:
            JobNotFoundError: no such job. JobError: it is not dead-lettered.
        """
        job_id = validation.job_id(job_id)
        self._run(dead_letters.discard(self.settings, self._keys, self.project, job_id))

    def discard_all(
        self,
        *,
        kind: str | None = None,
        error_code: str | None = None,
        memory_id: str | None = None,
        before: datetime | str | None = None,
        after: datetime | str | None = None,
        on_progress: Callable[[DeadLetterProgress], None] | None = None,
    ) -> int:
        """Gives up the project's dead letters that match; all of them when nothing is given. Returns how many.

        Args and Raises: see `replay_all`.
        """
        wanted = LetterFilter.checked(kind=kind, error_code=error_code, memory_id=memory_id, before=before, after=after)
        run = self._run(dead_letters.begin(self._keys, wanted))
        while not run.ended:
            self._run(dead_letters.discard_page(self.settings, self._keys, self.project, run))
            if on_progress is not None:
                on_progress(run.progress)
        return run.done

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
        vector = self._queries.embed(query)
        return self._run(reads.search(self._keys, wanted, self.settings.space.field, vector, limit))

    def history(self, memory_id: str) -> list[HistoryEntry]:
        """Every change of the memory, oldest first; also of a deleted one."""
        return self._run(reads.history(self._keys, self.project, validation.memory_id(memory_id)))

    def diagnose(self, memory_id: str) -> Diagnosis:
        """Whether one memory is whole: hash, vector, index and history agree; also for a deleted one.

        Raises:
            MemoryNotFoundError: no such memory in this project.
            VectorStoreError: there is no index yet.
        """
        checked = validation.memory_id(memory_id)
        return self._run(diagnosis_reads.diagnose(self.settings, self._keys, self.project, checked))

    def health(self) -> health.Health:
        """What this client can reach; never raises for what it cannot."""
        return health.check(self._planes, self._keys, self.settings)

    # Inside.

    def _submit(self, request: JobRequest) -> Job:
        job_id, rings = self._run(writes.accept(self.settings, self._keys, request))
        self._ring(rings)
        return self._accepted(job_id, request.consistency)

    def _submit_batch(self, request: BatchRequest) -> Job:
        parts = request.appends(self.settings)
        while True:
            done = self._run(writes.append(self.settings, self._keys, request, next(parts)))
            self._ring(done.rings)
            if done.resume:
                request = request.resumed(done.resume)
                parts = request.appends(self.settings, resumed=True)
            elif done.is_over:
                return self._accepted(done.job_id, request.consistency)

    def _submit_documents(self, documents: list[Document]) -> Job:
        return self._submit_batch(self._batch.documents("batch", documents, BULK))

    def _accepted(self, job_id: str, consistency: str) -> Job:
        job = Job(self, job_id)
        if consistency == "strong":
            job.wait(timeout=self.settings.task_time_limit, with_results=False)
        return job

    def _ring(self, shards: list[str]) -> None:
        self._bell.ring_each(shards)

    def _run(self, steps: Steps[T]) -> T:
        return run(self._planes, steps)
