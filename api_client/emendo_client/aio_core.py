"""What the asyncio client stands on: connections, and ways to accept jobs."""

from __future__ import annotations

import asyncio
import itertools
from typing import Self, TypeVar

from emendo_client import reads, validation, writes
from emendo_client.aio_job import AsyncJob
from emendo_client.batches import BatchBuilder, BatchRequest
from emendo_client.bell import Bell
from emendo_client.embeddings.queries import QueryEmbedder
from emendo_client.errors import EmendoError, VectorStoreError
from emendo_client.filters import Filter
from emendo_client.models import SearchHit
from emendo_client.reads import SEARCH_ATTEMPTS
from emendo_client.requests import JobRequest, RequestBuilder
from emendo_client.steps import Steps, plane_async, run_async
from emendo_client.together import AsyncTogether
from emendo_config import Keys, Settings
from emendo_config.redis_io import connect_async, connect_listening_async
from emendo_config.registry import SpaceRecord

T = TypeVar("T")


class AsyncCore:
    """One project's connections; see `AsyncMemoryClient`."""

    def __init__(self, settings: Settings | None = None, project: str | None = None) -> None:
        self.settings = Settings() if settings is None else validation.settings_given(settings)
        given = self.settings.project if project is None else project
        self.project = validation.scope_id(given, "project") or "default"
        self._keys = Keys(self.settings.key_prefix)
        self._build = RequestBuilder(self.settings, self.project)
        self._batch = BatchBuilder(self.settings, self.project)
        self._bell = Bell(self.settings)
        self._data = connect_async(self.settings.redis_url, self.settings)
        same = self.settings.control_url == self.settings.redis_url
        self._control = self._data if same else connect_async(self.settings.control_url, self.settings)
        self._listening = connect_listening_async(self.settings.control_url, self.settings)
        self._planes = {"data": plane_async(self._data), "control": plane_async(self._control)}
        self._accepting = {"control": AsyncTogether(self._control)}
        self._queries = QueryEmbedder(self.settings)
        self._active: SpaceRecord | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """See `MemoryClient.__aenter__`."""
        self._bell.close()
        await self._data.aclose()
        await self._control.aclose()
        await self._listening.aclose()
        await self._queries.close_async()

    async def _submit(self, request: JobRequest) -> AsyncJob:
        job_id, rings = await run_async(self._accepting, writes.accept(self.settings, self._keys, request))
        await self._ring(rings)
        return await self._accepted(job_id, request.consistency)

    async def _submit_batch(self, request: BatchRequest) -> AsyncJob:
        parts = request.appends(self.settings)
        while True:
            done = await self._run(writes.append(self.settings, self._keys, request, next(parts)))
            await self._ring(done.rings)
            if done.resume is not None:
                request = done.resume
                parts = request.appends(self.settings)
            elif done.is_over:
                return await self._accepted(done.job_id, request.consistency)

    async def _accepted(self, job_id: str, consistency: str) -> AsyncJob:
        job = AsyncJob(self, job_id)
        if consistency == "strong":
            await job.wait(timeout=self.settings.task_time_limit, with_results=False)
        return job

    async def _nearest(self, query: str, wanted: Filter, limit: int) -> list[SearchHit]:
        """See `Core._nearest`."""
        for attempt in itertools.count(1):
            space = self._active or await self._look_up_space()
            try:
                vector = await self._queries.embed_async(query, space)
            except EmendoError:  # the provider of a space that was left may be gone with it
                if attempt == SEARCH_ATTEMPTS or (await self._look_up_space()).name == space.name:
                    raise
                continue
            steps = reads.search(self._keys, wanted, space.field, vector, limit, metric=space.metric)
            try:
                return await self._run(steps)
            except VectorStoreError:
                if attempt == SEARCH_ATTEMPTS:
                    raise
                self._active = None
        raise AssertionError("attempts are counted without end")

    async def _look_up_space(self) -> SpaceRecord:
        self._active = await self._run(reads.active_space(self._keys, self.settings))
        return self._active

    async def _ring(self, shards: list[str]) -> None:
        if shards:
            # Publishing blocks on the broker; only the client that found the bell silent pays for it.
            await asyncio.to_thread(self._bell.ring_each, shards)

    async def _run(self, steps: Steps[T]) -> T:
        return await run_async(self._planes, steps)
