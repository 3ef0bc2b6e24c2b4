"""The synchronous client: enqueue, follow, read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from emendo_client import dead_letters, diagnosis_reads, health, project_rules, reads, validation
from emendo_client.dead_letters import LetterFilter
from emendo_client.diagnosis import Diagnosis
from emendo_client.filters import scoped
from emendo_client.job import Job
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
from emendo_client.reembedding_calls import Reembedding
from emendo_client.submitting import Submitting


class MemoryClient(Submitting, Reembedding):
    """Adds, updates, deletes, restores and reads the memories of one project. Thread-safe.

    Writes return a `Job` as soon as Redis has accepted it; workers carry it out. Bad input raises
    ValidationError before anything is enqueued; an unreachable Redis raises NetworkError within
    `EMENDO_REDIS_TIMEOUT` and leaves no job behind. Only a call whose answer was lost on the way is uncertain; with an
    idempotency key it may be repeated.

    Args:
        settings: default: read from the environment.
        project: default: the settings' project. Nothing this client does reaches another project.
    """

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
            VectorStoreError: there is no index yet; ConfigurationError: the index is of no registered embedding space.
        """
        query = validation.text(query, "query", self.settings)
        wanted = scoped(self.project, user_id, agent_id, run_id, filters, all_users=all_users)
        limit = validation.positive(limit, "limit", MAX_SEARCH_LIMIT)
        return self._nearest(query, wanted, limit)

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
        return health.check(self._planes, self._keys)

    # Rules.

    def project_rules(self) -> ProjectRules:
        """What this project asks of inference (`add` with `infer`): its instructions, and its categories."""
        return self._run(project_rules.get(self._keys, self.project))

    def set_project_rules(
        self, *, instructions: str | None = None, categories: Sequence[str] | None = None
    ) -> ProjectRules:
        """Sets what this project asks of inference, from the next job on; the rules as they are then.

        Args:
            instructions: in plain words, for the chat model: what to remember and what to leave out. Up to 4,000
                characters; an empty string removes them, None leaves them as they are.
            categories: the names facts are sorted into, up to 50 of up to 64 characters; an empty list removes them,
                None leaves them as they are.

        Raises:
            ValidationError, NetworkError
        """
        return self._run(project_rules.put(self._keys, self.project, instructions, categories))
