"""A handle on one accepted job, awaited."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from emendo_client import reads, results, validation, writes
from emendo_client.models import ItemResult, JobInfo, JobResult, JobStatus, Progress
from emendo_client.steps import translate
from emendo_client.waiting import finished, pauses, timed_out

if TYPE_CHECKING:
    from emendo_client.aio_core import AsyncCore


class AsyncJob:
    """One accepted job; `id` is enough to find it again with `client.job(id)`."""

    def __init__(self, client: AsyncCore, job_id: str) -> None:
        self._client = client
        self.id = job_id

    def __repr__(self) -> str:
        return f"AsyncJob({self.id!r})"

    async def info(self) -> JobInfo:
        """See `Job.info`."""
        core = self._client
        return await core._run(reads.job(core._keys, core.project, self.id))  # noqa: SLF001  # one unit with its client

    async def status(self) -> JobStatus:
        """See `Job.status`."""
        return (await self.info()).status

    async def progress(self) -> Progress:
        """See `Job.progress`."""
        core = self._client
        return await core._run(reads.progress(core._keys, core.project, self.id))  # noqa: SLF001

    async def wait(
        self, timeout: float = 30.0, *, raise_on_failure: bool = False, with_results: bool = True
    ) -> JobResult:
        """See `Job.wait`."""
        core, timeout = self._client, validation.seconds(timeout, "timeout")
        deadline = time.monotonic() + timeout
        info = await self.info()
        if not info.status.is_final:
            info = await self._listen(info, timeout, deadline)
        items = await core._run(results.items(core._keys, core.project, info)) if with_results else []  # noqa: SLF001
        return finished(info, items, raise_on_failure=raise_on_failure)

    async def results(self) -> AsyncIterator[ItemResult]:
        """See `Job.results`."""
        core, info = self._client, await self.info()
        for page in range(results.pages(info)):
            for item in await core._run(results.items_page(core._keys, core.project, info, page)):  # noqa: SLF001
                yield item

    async def cancel(self, timeout: float = 10.0) -> bool:
        """See `Job.cancel`."""
        core, timeout = self._client, validation.seconds(timeout, "timeout")
        steps = writes.cancel(core.settings, core._keys, core.project, self.id)  # noqa: SLF001
        status = await core._run(steps)  # noqa: SLF001
        if not status.is_final:
            status = (await self.wait(timeout)).status
        return status is JobStatus.CANCELLED

    async def _listen(self, info: JobInfo, timeout: float, deadline: float) -> JobInfo:
        from redis.exceptions import MaxConnectionsError, RedisError

        core = self._client
        async with core._listening.pubsub(ignore_subscribe_messages=True) as listener:  # noqa: SLF001
            try:
                try:
                    await listener.subscribe(core._keys.job_channel(self.id))  # noqa: SLF001
                    listens = True
                except MaxConnectionsError:
                    listens = False
                # Looked at again only after subscribing: the end cannot slip between the two.
                info = await self.info()
                for pause in pauses(deadline, listens=listens):
                    if info.status.is_final:
                        break
                    if listens:
                        await listener.get_message(timeout=pause)
                    else:
                        await asyncio.sleep(pause)
                    info = await self.info()
            except RedisError as error:
                raise translate(error) from error
        if not info.status.is_final:
            raise timed_out(info, timeout)
        return info
