# Generated from _async/dead_letters.py by `python tools/async_to_sync.py`: change that file, then run the command.
"""The blocking client's calls on dead letters: read them, put them back to work, give them up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from emendo_client._sync.base import BaseClient
from emendo_client._sync.job import Job
from emendo_client.exchanges import dead_letter_runs, dead_letters
from emendo_client.exchanges.dead_letter_selection import DeadLetterFilter
from emendo_client.models import DeadLetter, DeadLetterProgress
from emendo_client.requests import validation
from emendo_client.requests.listings import MAX_PAGE_SIZE


class DeadLetters(BaseClient):
    """Handles dead letters; see `MemoryClient`."""

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
            limit: up to 1,000.
            kind: of the job, such as `update`.
            error_code: of the job's first error, such as `MEMORY_NOT_FOUND`.
            memory_id: one of the memories the job was to change.
            before, after: with a time zone. The job failed before the first, and at or after the second.

        Raises:
            ValidationError, NetworkError
        """
        wanted = DeadLetterFilter.checked(
            kind=kind, error_code=error_code, memory_id=memory_id, before=before, after=after
        )
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
        """Puts a dead letter back to work under its own id. Effects it already had are not repeated.

        A batch job's id stands for all its dead chunks.

        Raises:
            JobNotFoundError: no such job. JobError: it is not dead-lettered.
        """
        job_id = validation.job_id(job_id)
        self._notify(self._run(dead_letters.replay(self.settings, self._keys, self.project, job_id)))
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

        Takes the dead letters that exist when the call begins, oldest first. One that fails again meanwhile is not
        replayed again. If two calls run at once, each dead letter is replayed by one of them. A call that was
        interrupted may simply be repeated.

        Args:
            kind, error_code, memory_id, before, after: see `dead_letters`.
            on_progress: called after every few hundred dead letters.

        Raises:
            ValidationError, NetworkError
        """
        wanted = DeadLetterFilter.checked(
            kind=kind, error_code=error_code, memory_id=memory_id, before=before, after=after
        )
        run = self._run(dead_letter_runs.begin(self._keys, self.project, wanted))
        while not run.ended:
            self._notify(self._run(dead_letter_runs.replay_page(self.settings, self._keys, self.project, run)))
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
        wanted = DeadLetterFilter.checked(
            kind=kind, error_code=error_code, memory_id=memory_id, before=before, after=after
        )
        run = self._run(dead_letter_runs.begin(self._keys, self.project, wanted))
        while not run.ended:
            self._run(dead_letter_runs.discard_page(self.settings, self._keys, self.project, run))
            if on_progress is not None:
                on_progress(run.progress)
        return run.done
