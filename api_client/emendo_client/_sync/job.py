# Generated from _async/job.py by `python tools/async_to_sync.py`: change that file, then run the command.
"""A handle on one accepted job."""

from __future__ import annotations

import time
from collections.abc import Iterator

from emendo_client._sync.connections import Connections
from emendo_client.errors import EmendoError
from emendo_client.exchanges import jobs, progress, results
from emendo_client.exchanges.redis_errors import without_content
from emendo_client.models import ItemResult, JobInfo, JobResult, JobStatus, Progress
from emendo_client.requests import validation
from emendo_client.transport.blocking import sleep
from emendo_client.transport.job_polling import finished, pauses, timed_out


class Job:
    """One accepted job; `id` is enough to find it again with `client.job(id)`.

    Attributes:
        is_repeat: True when an earlier call with the same idempotency key began the job.
    """

    def __init__(self, client: Connections, job_id: str, *, is_repeat: bool = False) -> None:
        self._client = client
        self.id = job_id
        self.is_repeat = is_repeat

    def __repr__(self) -> str:
        return f"Job({self.id!r})"

    def info(self) -> JobInfo:
        """The job's record as it is now.

        Raises:
            JobNotFoundError: the id was never accepted, or the record expired.
        """
        client = self._client
        return client._run_shared(jobs.get(client._keys, client.project, self.id))

    def status(self) -> JobStatus:
        """The job's state now."""
        info = self.info()
        return info.status

    def progress(self) -> Progress:
        """How many of the job's items are done."""
        client = self._client
        return client._run_shared(progress.get(client._keys, client.project, self.id))

    def wait(self, timeout: float = 30.0, *, raise_on_failure: bool = False, with_results: bool = True) -> JobResult:
        """Waits until the job is in a final state, whichever it is.

        Args:
            timeout: seconds.
            raise_on_failure: raise JobFailedError for a failed or cancelled job instead of returning it.
            with_results: False leaves `results` empty, for batch jobs too large to hold in memory (see `results`).

        Raises:
            JobTimeoutError: no final state in time; the job goes on.
        """
        client, timeout = self._client, validation.seconds(timeout, "timeout")
        deadline = time.monotonic() + timeout
        info = self.info()
        if not info.status.is_final:
            info = self._listen(info, timeout, deadline)
        items = client._run(results.items(client._keys, client.project, info)) if with_results else []
        return finished(info, items, raise_on_failure=raise_on_failure)

    def results(self) -> Iterator[ItemResult]:
        """The items one after another, read page by page: for batch jobs too large to hold in memory."""
        client, info = self._client, self.info()
        for page in range(results.pages(info)):
            yield from client._run(results.items_page(client._keys, client.project, info, page))

    def cancel(self, timeout: float = 10.0) -> bool:
        """Cancels the job: True when it will never change anything, False when it was too late.

        Args:
            timeout: seconds to wait for a running job's answer.

        Raises:
            JobError: the id is that of a batch job's chunk.
            JobTimeoutError: there was no answer in time.
        """
        client, timeout = self._client, validation.seconds(timeout, "timeout")
        status = client._run(jobs.cancel(client.settings, client._keys, client.project, self.id))
        if not status.is_final:
            result = self.wait(timeout)
            status = result.status
        return status is JobStatus.CANCELLED

    def _listen(self, info: JobInfo, timeout: float, deadline: float) -> JobInfo:
        from redis.exceptions import MaxConnectionsError, RedisError

        client = self._client
        failure: EmendoError | None = None
        with client._connections.listening.pubsub(ignore_subscribe_messages=True) as listener:
            try:
                try:
                    listener.subscribe(client._keys.job_channel(self.id))
                    listens = True
                except MaxConnectionsError:
                    listens = False
                # The record is read again only after subscribing, so that the end cannot slip between the two.
                info = self.info()
                for pause in pauses(deadline, listens=listens):
                    if info.status.is_final:
                        break
                    if listens:
                        listener.get_message(timeout=pause)
                    else:
                        sleep(pause)
                    info = self.info()
            except RedisError as error:
                failure = without_content(error)
        if failure is not None:
            raise failure
        if not info.status.is_final:
            raise timed_out(info, timeout)
        return info
