"""Everything a worker process shares between its jobs: the store, providers, leases, limits, events."""

from __future__ import annotations

import logging
import os
import random
import secrets
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from typing import Any

import redis
from celery import Celery
from redis.exceptions import RedisError

from emendo_client.errors import ConfigurationError, EmendoError
from emendo_client.exchanges.redis_errors import translate
from emendo_client.models import FINAL_STATUSES
from emendo_client.providers.chat import ChatModel, create_chat_model
from emendo_client.providers.chat.base import PROVIDER
from emendo_client.providers.embeddings import create_embedder
from emendo_client.transport.wakeup import ShardNotifier
from emendo_config import Keys, Settings, traces
from emendo_config.error_codes import ErrorCode
from emendo_config.forks import leave_to_the_parent
from emendo_config.spaces.bootstrap import ensure_index
from emendo_config.spaces.registry import SpaceRecord, find_space, read_registry
from emendo_config.store import scripts
from emendo_config.store.pipeline import as_text
from emendo_config.store.refusals import is_refused
from emendo_workers.jobs.retry import is_worker_fault
from emendo_workers.providers.circuit_breaker import CircuitBreaker
from emendo_workers.providers.guarded_chat import GuardedChatModel
from emendo_workers.providers.pipeline import EmbeddingPipeline
from emendo_workers.providers.space_pipelines import SpacePipelines
from emendo_workers.providers.text_merger import ChatTextMerger, TextMerger
from emendo_workers.runtime.concurrency import MIN_LIMIT, ConcurrencyLimiter
from emendo_workers.runtime.leases import LeaseRenewer
from emendo_workers.runtime.living_attempts import LivingAttempts
from emendo_workers.runtime.memory_limit import Room
from emendo_workers.runtime.own_rights import OwnRights
from emendo_workers.runtime.shard_merging import ShardPool
from emendo_workers.runtime.task_events import JobEvents
from emendo_workers.runtime.worker_faults import NEED_CHAT, NEED_EMBEDDING, NEED_SPACES, WorkerFaults
from emendo_workers.store import open_store

logger = logging.getLogger(__name__)

# Seconds that the chat model may take for a harmless question, beside a question that has taken its whole time.
PROBE_TIMEOUT = 15.0


class Services:
    """The store and the running parts of one process; made once by `open_services`, or by a test.

    Attributes:
        store: connections, key names and settings. A function that needs no more takes a `Store`.
        worker: this process start's id. Never a host name: a restarted worker must not look like the dead one.
        poison_lock: held while a job is worked that was in progress when a worker died. Two such jobs in one process
            would be blamed for each other's deaths.
        living_attempts: the attempts of this process, for the count of deaths.
        background_limiter: for all drains but those of interactive shards.
        chat_limiter: for those of them that ask the chat model.
        pipelines: of all embedding spaces, for what people wait for.
        embedding: the pipeline of the space that the settings name.
        background_pipelines: the same for re-embedding, with a share of the provider's limits. Each text comes by
            once, so vectors are not kept in the process.
        faults: of this worker or its accounts, for which it claims no jobs.
        room: whether the memories' Redis refused a change for lack of memory just now.
        chat, merger: None where no chat model is configured.
    """

    def __init__(self, settings: Settings, app: Celery) -> None:
        traces.begin(settings, "emendo-worker")
        self.store = open_store(settings)
        self.worker = secrets.token_hex(8)
        self.rng = random.Random()  # noqa: S311  # jitter, not secrets
        self.poison_lock = threading.Lock()
        self.living_attempts = LivingAttempts()
        self.notifier = ShardNotifier(settings, app)
        self.background_limiter = ConcurrencyLimiter(self.notifier.notify)
        self.chat_limiter = ConcurrencyLimiter(self.notifier.notify, settings.inference_drains or MIN_LIMIT)
        self.shard_pool = ShardPool(settings.drain_batch)
        self.events = JobEvents(app, enabled=settings.task_events)
        self._own = settings.space
        self.embedder = create_embedder(settings)
        self.pipelines = SpacePipelines(self.store)
        self.embedding = self.pipelines.create(settings.space, settings.space.name, self.embedder)
        uncached = settings.model_copy(update={"embedding_lru_bytes": 0})
        self.background_pipelines = SpacePipelines(replace(self.store, settings=uncached), settings.maintenance_share)
        self.chat: ChatModel | None = None
        self.merger: TextMerger | None = None
        if settings.has_chat_model:
            breaker = CircuitBreaker(self.keys, settings, PROVIDER, settings.chat_timeout)
            hurried = settings.model_copy(update={"chat_timeout": min(settings.chat_timeout, PROBE_TIMEOUT)})
            model, prober = create_chat_model(settings), create_chat_model(hurried)
            self.chat = chat = GuardedChatModel(
                model,
                self.control,
                breaker,
                prober,
                lambda error: self.faults.report("chat", error, _blocked(error, NEED_CHAT), chat.probe),
                tally=self.store.tally,
                name=settings.chat_model,
            )
            self.merger = ChatTextMerger(self.chat, settings)
        self.leases = LeaseRenewer(self.store, self.worker)
        self.faults = WorkerFaults(self.leases)
        self.room = Room()

    @property
    def data(self) -> redis.Redis:
        """See `Store.data`."""
        return self.store.data

    @property
    def control(self) -> redis.Redis:
        """See `Store.control`."""
        return self.store.control

    @property
    def keys(self) -> Keys:
        """See `Store.keys`."""
        return self.store.keys

    @property
    def settings(self) -> Settings:
        """See `Store.settings`."""
        return self.store.settings

    @property
    def lease_ms(self) -> int:
        """See `Store.lease_ms`."""
        return self.store.lease_ms

    def start(self) -> None:
        """Makes sure that the index is there and fits the settings, then begins to renew leases.

        Raises:
            ConfigurationError: the embedder cannot work here, or the store was written with another model or dimension.
        """
        self.embedder.prepare()
        try:
            active = ensure_index(self.data, self.settings)
        except RedisError as error:
            if not is_refused(error):
                raise
            self.leases.start()
            self.report_rights_fault(translate(error), lambda: ensure_index(self.data, self.settings))
            return
        self.leases.start()
        space = self.settings.space
        if find_space([active], space) is None:
            logger.warning(
                "the settings name another embedding space than the active one",
                extra={"settings": space.name, "active": active.name},
            )
        logger.info(
            "worker ready",
            extra={
                "worker": self.worker,
                "embedder": space.provider,
                "model": space.model,
                "dimensions": space.dimensions,
            },
        )

    def pipeline_of(self, space: SpaceRecord) -> EmbeddingPipeline:
        """The pipeline from texts to the space's vectors, float32[dimensions] whatever its datatype.

        Raises:
            ConfigurationError: its provider is not installed here, or the settings do not say where it is.
        """
        return self.embedding if self.is_own(space) else self.pipelines.of(space)

    def is_own(self, space: SpaceRecord) -> bool:
        """True when the pipeline `embedding` makes the space's vectors."""
        return space.embedded_as == self._own.name and space.space.embeds_like(self._own)

    def report_embedding_fault(self, space: SpaceRecord, error: EmendoError) -> None:
        """Claims no jobs that need vectors until the live space's provider answers this worker."""

        def probe() -> None:
            if space not in read_registry(self.data, self.keys):
                return  # nobody needs its vectors any more
            try:
                requests = self.pipeline_of(space).requests
            except ConfigurationError:
                raise error from None
            requests.probe()

        self.faults.report(f"embedding {space.name}", error, _blocked(error, NEED_EMBEDDING), probe)

    def report_spaces_fault(self, error: EmendoError) -> None:
        """Claims no jobs until this worker can read the registry of embedding spaces."""
        self.faults.report("spaces", error, NEED_SPACES, lambda: read_registry(self.data, self.keys))

    def report_job_fault(self, error: EmendoError) -> None:
        """Claims no jobs because of a worker's fault that failed a whole batch."""
        if error.error_code == ErrorCode.REDIS_NO_PERMISSION:
            self.report_rights_fault(error)
        else:
            self.report_spaces_fault(error)

    def report_rights_fault(self, error: EmendoError, retry: Callable[[], object] = lambda: None) -> None:
        """Claims no jobs until the user of Redis has got further rights.

        Args:
            error: the refusal.
            retry: what was refused and may be tried again at any time; it raises a RedisError.
        """
        rights = OwnRights(self.store)

        def probe() -> None:
            if not rights.have_changed():
                raise error
            try:
                retry()
            except RedisError as refused:
                raise translate(refused) from None

        self.faults.report("rights", rights.explained(error), NEED_SPACES, probe)

    def report_release_fault(self, error: EmendoError, record_id: str) -> None:
        """Says that a job waits for a newer worker, until it has ended; this worker does all jobs that it can read."""

        def probe() -> None:
            status: Any = self.control.hget(self.keys.job(record_id), "status")
            if as_text(status) not in FINAL_STATUSES and status is not None:
                raise error

        self.faults.report("release", error, (), probe)

    def stop(self) -> None:
        """Stops the threads and closes the connections."""
        self.faults.stop()
        self.leases.stop()
        self.events.close()
        self.notifier.close()
        self.embedding.close()
        self.pipelines.close()
        self.background_pipelines.close()
        self.embedder.close()
        if self.chat is not None:
            self.chat.close()
        with suppress(RedisError):  # counts are worth no wait
            scripts.run(self.control, self.store.take_counts())
        self.store.close()


def _blocked(error: EmendoError, queues: Collection[str]) -> Collection[str]:
    """The queues that a fault blocks: none for a used-up quota, since deletes and metadata need no provider."""
    return queues if is_worker_fault(error) else ()


_lock = threading.Lock()
_services: Services | None = None


def open_services(settings: Settings, app: Celery) -> Services:
    """The process's services, started at the first call."""
    global _services  # noqa: PLW0603  # one set of connections per process
    with _lock:
        if _services is None:
            services = Services(settings, app)
            try:
                services.start()
            except BaseException:
                services.stop()
                raise
            _services = services
        return _services


def _leave_services_to_the_parent() -> None:
    """A forked process opens its own at its first task. Closing the parent's would take the parent off the list."""
    global _lock, _services  # noqa: PLW0603
    leave_to_the_parent(_services)
    _services = None
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_leave_services_to_the_parent)


def close_services() -> None:
    """Stops the process's services, if they were started."""
    global _services  # noqa: PLW0603
    with _lock:
        if _services is not None:
            _services.stop()
            _services = None
