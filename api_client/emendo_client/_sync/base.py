# Generated from _async/base.py by `python tools/async_to_sync.py`: change that file, then run the command.
"""The blocking client's foundation: how jobs are accepted and searches are made."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from emendo_client._sync.connections import Connections
from emendo_client._sync.job import Job
from emendo_client.errors import EmendoError, VectorStoreError
from emendo_client.exchanges import accept, hybrid, memories, results
from emendo_client.exchanges.memories import SEARCH_ATTEMPTS
from emendo_client.models import ItemResult, JobInfo, Memory, SearchHit
from emendo_client.providers.embeddings.queries import QueryEmbedder
from emendo_client.records.words import query_words
from emendo_client.requests import validation
from emendo_client.requests.accept_span import accepting
from emendo_client.requests.batch_items import BatchBuilder
from emendo_client.requests.batches import BatchRequest
from emendo_client.requests.filters import Filter
from emendo_client.requests.jobs import JobRequest, RequestBuilder
from emendo_client.requests.operations import Document, OperationBuilder
from emendo_client.transport.blocking import call_blocking
from emendo_client.transport.wakeup import ShardNotifier
from emendo_config import Settings
from emendo_config.spaces.registry import SpaceRecord
from emendo_config.store.clock import RedisClock

C = TypeVar("C", bound="BaseClient")


def sibling(client: C, project: str) -> C:
    """A client of another project over the same connections: the gateway has one for each of its projects.

    Closing one of them closes the connections of all.

    Raises:
        ValidationError: the project's name is malformed.
    """
    other = copy.copy(client)
    other.project = validation.scope_id(project, "project") or "default"
    other._requests = RequestBuilder(other.project)
    other._batches = BatchBuilder(other.settings, other.project)
    return other


def job_begun_by(client: BaseClient, idempotency_key: str) -> str | None:
    """The job that was accepted under the key in the client's project; None if there is none."""
    return client._run(accept.job_begun_by(client._keys, client.project, idempotency_key))


def memories_of(client: BaseClient, memory_ids: Sequence[str]) -> dict[str, Memory]:
    """The memories of the client's project under these ids, also deleted ones; see `memories.get_each`."""
    return client._run(memories.get_each(client._keys, client.project, memory_ids))


def submit_mixed(
    client: BaseClient,
    items: Sequence[Mapping[str, Any]],
    *,
    admit: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    infer: bool,
    idempotency_key: str | None,
    consistency: str,
) -> Job:
    """Submits adds, updates and deletes as one job; see `BatchBuilder.mixed`.

    Raises:
        ValidationError: there is no item, or every one of them is refused.
        ConflictError, NetworkError
    """
    request = client._batches.mixed(
        items, admit=admit, infer=infer, idempotency_key=idempotency_key, consistency=consistency
    )
    return client._submit_batch(request)


def results_page(client: BaseClient, info: JobInfo, page: int) -> list[ItemResult]:
    """One page of a job's items; pages count from 0."""
    return client._run(results.items_page(client._keys, client.project, info, page))


class BaseClient(Connections):
    """Submits jobs and searches for one project; see `MemoryClient`."""

    def __init__(self, settings: Settings | None = None, project: str | None = None) -> None:
        super().__init__(settings, project)
        self._operations = OperationBuilder(self.settings)
        self._requests = RequestBuilder(self.project)
        self._batches = BatchBuilder(self.settings, self.project)
        self._notifier = ShardNotifier(self.settings)
        self._queries = QueryEmbedder(self.settings)
        self._active: SpaceRecord | None = None
        self._clock = RedisClock()

    def close(self) -> None:
        """Closes all connections; the client cannot be used afterwards."""
        self._notifier.close()
        super().close()
        self._queries.close()

    def _write(self, documents: list[Document], idempotency_key: str | None, consistency: str) -> Job:
        """Submits the operations of one call as one job."""
        request = self._requests.request(documents, idempotency_key=idempotency_key, consistency=consistency)
        return self._submit(request)

    def _submit(self, request: JobRequest) -> Job:
        with accepting(self.settings, request) as traced:
            job_id, shards = self._run_shared(accept.accept(self.settings, self._keys, traced))
            self._notify(shards)
        return self._accepted(job_id, request.consistency, is_repeat=job_id != request.job_id)

    def _submit_batch(self, request: BatchRequest) -> Job:
        with accepting(self.settings, request) as traced:
            job_id = self._append_all(traced)
        return self._accepted(job_id, request.consistency, is_repeat=job_id != request.job_id)

    def _append_all(self, request: BatchRequest) -> str:
        """Sends a batch job part by part; its id, which is the first one's under its idempotency key."""
        parts = request.appends(self.settings)
        while True:
            done = self._run(accept.append(self.settings, self._keys, request, next(parts)))
            self._notify(done.shards)
            if done.resume is not None:
                request = done.resume
                parts = request.appends(self.settings)
            elif done.is_over:
                return done.job_id

    def _accepted(self, job_id: str, consistency: str, *, is_repeat: bool = False) -> Job:
        job = Job(self, job_id, is_repeat=is_repeat)
        if consistency == "strong":
            job.wait(timeout=self.settings.task_time_limit, with_results=False)
        return job

    def _nearest(self, query: str, wanted: Filter, limit: int, *, by_words: bool = False) -> list[SearchHit]:
        """Searches the active space, and the new one if another space becomes active meanwhile."""
        for attempt in itertools.count(1):
            space = self._active or self._look_up_space()
            try:
                vector = self._queries.embed(query, space)
            except EmendoError:  # the provider of a space that was replaced may be gone with it
                if attempt == SEARCH_ATTEMPTS:
                    raise
                current = self._look_up_space()
                if current.name == space.name:
                    raise
                continue
            try:
                if by_words:
                    question = hybrid.Question(space.field, vector, query_words(query))
                    return self._run(
                        hybrid.search(self._keys, wanted, question, limit, project=self.project, clock=self._clock)
                    )
                return self._run(
                    memories.search(
                        self._keys, wanted, space.field, vector, limit, clock=self._clock, metric=space.metric
                    )
                )
            except VectorStoreError:
                if attempt == SEARCH_ATTEMPTS:
                    raise
                self._active = None
        raise AssertionError("attempts are counted without end")

    def _look_up_space(self) -> SpaceRecord:
        self._active = self._run(memories.active_space(self._keys, self.settings))
        return self._active

    def _notify(self, shards: list[str]) -> None:
        """Wakes the workers of these shards. Publishing blocks on the broker, and most calls have no shard to wake."""
        if shards:
            call_blocking(self._notifier.notify_each, shards)
