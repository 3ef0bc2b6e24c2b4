"""What the synchronous client stands on: connections, and ways to accept jobs."""

from __future__ import annotations

import itertools
from typing import Self, TypeVar

from emendo_client import reads, validation, writes
from emendo_client.batches import BatchBuilder, BatchRequest
from emendo_client.bell import Bell
from emendo_client.embeddings.queries import QueryEmbedder
from emendo_client.errors import EmendoError, VectorStoreError
from emendo_client.filters import Filter
from emendo_client.job import Job
from emendo_client.models import SearchHit
from emendo_client.reads import SEARCH_ATTEMPTS
from emendo_client.requests import JobRequest, RequestBuilder
from emendo_client.steps import Steps, plane, run
from emendo_client.together import Together
from emendo_config import Keys, Settings
from emendo_config.redis_io import connect, connect_listening
from emendo_config.registry import SpaceRecord

T = TypeVar("T")


class Core:
    """One project's connections; see `MemoryClient`."""

    def __init__(self, settings: Settings | None = None, project: str | None = None) -> None:
        self.settings = Settings() if settings is None else validation.settings_given(settings)
        given = self.settings.project if project is None else project
        self.project = validation.scope_id(given, "project") or "default"
        self._keys = Keys(self.settings.key_prefix)
        self._build = RequestBuilder(self.settings, self.project)
        self._batch = BatchBuilder(self.settings, self.project)
        self._bell = Bell(self.settings)
        self._data = connect(self.settings.redis_url, self.settings)
        same = self.settings.control_url == self.settings.redis_url
        self._control = self._data if same else connect(self.settings.control_url, self.settings)
        self._listening = connect_listening(self.settings.control_url, self.settings)
        self._planes = {"data": plane(self._data), "control": plane(self._control)}
        self._accepting = {"control": Together(self._control)}
        self._queries = QueryEmbedder(self.settings)
        self._active: SpaceRecord | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes all connections; the client cannot be used afterwards."""
        self._bell.close()
        self._data.close()
        self._control.close()
        self._listening.close()
        self._queries.close()

    def _submit(self, request: JobRequest) -> Job:
        job_id, rings = run(self._accepting, writes.accept(self.settings, self._keys, request))
        self._ring(rings)
        return self._accepted(job_id, request.consistency)

    def _submit_batch(self, request: BatchRequest) -> Job:
        parts = request.appends(self.settings)
        while True:
            done = self._run(writes.append(self.settings, self._keys, request, next(parts)))
            self._ring(done.rings)
            if done.resume is not None:
                request = done.resume
                parts = request.appends(self.settings)
            elif done.is_over:
                return self._accepted(done.job_id, request.consistency)

    def _accepted(self, job_id: str, consistency: str) -> Job:
        job = Job(self, job_id)
        if consistency == "strong":
            job.wait(timeout=self.settings.task_time_limit, with_results=False)
        return job

    def _nearest(self, query: str, wanted: Filter, limit: int) -> list[SearchHit]:
        """Searches the active space; when another one became active meanwhile, that one."""
        for attempt in itertools.count(1):
            space = self._active or self._look_up_space()
            try:
                vector = self._queries.embed(query, space)
            except EmendoError:  # the provider of a space that was left may be gone with it
                if attempt == SEARCH_ATTEMPTS or self._look_up_space().name == space.name:
                    raise
                continue
            steps = reads.search(self._keys, wanted, space.field, vector, limit, metric=space.metric)
            try:
                return self._run(steps)
            except VectorStoreError:
                if attempt == SEARCH_ATTEMPTS:
                    raise
                self._active = None
        raise AssertionError("attempts are counted without end")

    def _look_up_space(self) -> SpaceRecord:
        self._active = self._run(reads.active_space(self._keys, self.settings))
        return self._active

    def _ring(self, shards: list[str]) -> None:
        self._bell.ring_each(shards)

    def _run(self, steps: Steps[T]) -> T:
        return run(self._planes, steps)
