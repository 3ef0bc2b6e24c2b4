"""A handle on one accepted job, blocking."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from emendo_client import reads, results, validation, writes
from emendo_client.models import ItemResult, JobInfo, JobResult, JobStatus, Progress
from emendo_client.steps import translate
from emendo_client.waiting import finished, pauses, timed_out

if TYPE_CHECKING:
    from emendo_client.core import Core


class Job:
    """One accepted job; `id` is enough to find it again with `client.job(id)`."""

    def __init__(self, client: Core, job_id: str) -> None:
        self._client = client
        self.id = job_id

    def __repr__(self) -> str:
        return f"Job({self.id!r})"

    def info(self) -> JobInfo:
        """The job's record as it is now.

        Raises:
            JobNotFoundError: the id was never accepted, or the record expired.
        """
        core = self._client
        return core._run(reads.job(core._keys, core.project, self.id))  # noqa: SLF001  # one unit with its client

    def status(self) -> JobStatus:
        """The job's state now."""
        return self.info().status

    def progress(self) -> Progress:
        """How many of the job's items are done."""
        core = self._client
        return core._run(reads.progress(core._keys, core.project, self.id))  # noqa: SLF001

    def wait(self, timeout: float = 30.0, *, raise_on_failure: bool = False, with_results: bool = True) -> JobResult:
        """Blocks until the job is in a final state, whichever it is.

        Args:
            timeout: seconds.
            raise_on_failure: raise JobFailedError for a failed or cancelled job instead of returning it.
            with_results: False leaves `results` empty, for batch jobs too large to hold in memory (see `results`).

        Raises:
            JobTimeoutError: no final state in time; the job goes on.
        """
        core, timeout = self._client, validation.seconds(timeout, "timeout")
        deadline = time.monotonic() + timeout
        info = self.info()
        if not info.status.is_final:
            info = self._listen(info, timeout, deadline)
        items = core._run(results.items(core._keys, core.project, info)) if with_results else []  # noqa: SLF001
        return finished(info, items, raise_on_failure=raise_on_failure)

    def results(self) -> Iterator[ItemResult]:
        """The items one after another, read page by page: for batch jobs too large to hold in memory."""
        core, info = self._client, self.info()
        for page in range(results.pages(info)):
            yield from core._run(results.items_page(core._keys, core.project, info, page))  # noqa: SLF001

    def cancel(self, timeout: float = 10.0) -> bool:
        """Cancels the job: True when it will never change anything, False when it was too late.

        Args:
            timeout: seconds to wait for a running job's answer.

        Raises:
            JobError: the id is that of a batch job's chunk.
            JobTimeoutError: there was no answer in time.
        """
        core, timeout = self._client, validation.seconds(timeout, "timeout")
        steps = writes.cancel(core.settings, core._keys, core.project, self.id)  # noqa: SLF001
        status = core._run(steps)  # noqa: SLF001
        if not status.is_final:
            status = self.wait(timeout).status
        return status is JobStatus.CANCELLED

    def _listen(self, info: JobInfo, timeout: float, deadline: float) -> JobInfo:
        from redis.exceptions import MaxConnectionsError, RedisError

        core = self._client
        with core._listening.pubsub(ignore_subscribe_messages=True) as listener:  # noqa: SLF001
            try:
                try:
                    listener.subscribe(core._keys.job_channel(self.id))  # noqa: SLF001
                    listens = True
                except MaxConnectionsError:
                    listens = False
                # Looked at again only after subscribing: the end cannot slip between the two.
                info = self.info()
                for pause in pauses(deadline, listens=listens):
                    if info.status.is_final:
                        break
                    if listens:
                        listener.get_message(timeout=pause)
                    else:
                        time.sleep(pause)
                    info = self.info()
            except RedisError as error:
                raise translate(error) from error
        if not info.status.is_final:
            raise timed_out(info, timeout)
        return info
