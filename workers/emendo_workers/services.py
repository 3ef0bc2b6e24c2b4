"""What a worker process has at hand: connections, the embedder, the keeper, the sweeper, events."""

from __future__ import annotations

import logging
import random
import secrets
import threading

from celery import Celery

from emendo_client.bell import Bell
from emendo_client.chat import ChatModel, create_chat_model
from emendo_client.chat.base import PROVIDER
from emendo_client.embeddings import create_embedder
from emendo_config import Keys, Settings
from emendo_config.index import ensure_index
from emendo_config.redis_io import connect
from emendo_config.registry import SpaceRecord, find_space
from emendo_workers.breaker import Breaker
from emendo_workers.chat import GuardedChatModel
from emendo_workers.embedding import EmbeddingPipeline
from emendo_workers.events import JobEvents
from emendo_workers.joining import Drains
from emendo_workers.keeper import Keeper
from emendo_workers.merging import ChatMerger, Merger
from emendo_workers.slots import FEWEST, Slots
from emendo_workers.spaces import SpacePipelines

logger = logging.getLogger(__name__)


class Services:
    """Everything a handler needs; made once per process by `open_services`, or by a test."""

    def __init__(self, settings: Settings, app: Celery) -> None:
        self.settings = settings
        self.keys = Keys(settings.key_prefix)
        # Unique per process start and never a host name: a restarted worker must not look like the dead one.
        self.worker = secrets.token_hex(8)
        self.data = connect(settings.redis_url, settings)
        same = settings.control_url == settings.redis_url
        self.control = self.data if same else connect(settings.control_url, settings)
        self.lease_ms = int(settings.lease * 1000)
        self.rng = random.Random()  # noqa: S311  # jitter, not secrets
        # Held while a job is worked that was in progress when a worker died: two of them in one process would be
        # blamed for each other's deaths, again and again.
        self.suspects = threading.Lock()
        self.bell = Bell(settings, app)
        # For all drains but those somebody waits for, and of these for the ones that ask the chat model.
        self.background_slots = Slots(self.bell.ring)
        self.chat_slots = Slots(self.bell.ring, settings.inference_drains or FEWEST)
        self.drains = Drains(settings.drain_batch)
        self.events = JobEvents(app, enabled=settings.task_events)
        self.embedder = create_embedder(settings)
        self.pipelines = SpacePipelines(self.data, self.control, self.keys, settings)
        self.embedding = self.pipelines.make(settings.space, settings.space.name, self.embedder)
        # Re-embedding leaves room for what people wait for; and it comes by each text once, so it remembers none.
        self.background = SpacePipelines(
            self.data,
            self.control,
            self.keys,
            settings.model_copy(update={"embedding_lru_bytes": 0}),
            settings.maintenance_share,
        )
        self.chat: ChatModel | None = None
        self.merger: Merger | None = None
        if settings.has_chat_model:
            breaker = Breaker(self.keys, settings, PROVIDER, settings.chat_timeout)
            self.chat = GuardedChatModel(create_chat_model(settings), self.control, breaker)
            self.merger = ChatMerger(self.chat, settings)
        self.keeper = Keeper(self.data, self.control, self.keys, settings, self.worker)

    def start(self) -> None:
        """Makes sure the index is there and right, then begins to keep leases.

        Raises:
            ConfigurationError: the embedder cannot work here, or the store was written with another model or dimension.
        """
        self.embedder.prepare()
        active = ensure_index(self.data, self.settings)
        self.keeper.start()
        space = self.settings.space
        if find_space([active], space) is None:
            logger.warning(
                "the settings name another embedding space than the one that is searched",
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
        """The way from texts to the space's vectors, float32[dimensions] whatever its datatype.

        Raises:
            ConfigurationError: its provider is not installed here, or the settings do not say where it is.
        """
        if space.embedded_as == self.settings.space.name:
            return self.embedding
        return self.pipelines.of(space)

    def stop(self) -> None:
        """Gives everything back."""
        self.keeper.stop()
        self.events.close()
        self.embedding.close()
        self.pipelines.close()
        self.background.close()
        self.embedder.close()
        if self.chat is not None:
            self.chat.close()
        self.data.close()
        self.control.close()


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


def close_services() -> None:
    """Stops the process's services, if they were started."""
    global _services  # noqa: PLW0603
    with _lock:
        if _services is not None:
            _services.stop()
            _services = None
