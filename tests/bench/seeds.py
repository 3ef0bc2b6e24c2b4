"""Many memories quickly: the product's own decision and commit script, with vectors made up instead of asked for."""

from __future__ import annotations

import time
import uuid

import numpy as np

from emendo_config.celery_app import create_app
from emendo_config.spaces.registry import SpaceRecord
from emendo_config.store import scripts
from emendo_ops.bench.store import Store
from emendo_workers.jobs.operations import Add
from emendo_workers.memories.commit import commit_command
from emendo_workers.memories.decide import apply_operation
from emendo_workers.memories.space_listing import Spaces
from emendo_workers.memories.state import MemoryState
from emendo_workers.services import Services

PER_USER = 100
_AT_A_TIME = 500


def seed(store: Store, count: int) -> list[str]:
    """Adds memories to the store's project, a hundred to a user, as a worker's commit would; their ids.

    The worker has made the index before. Layout, history and marks are right because nothing here writes them.
    """
    services = Services(store.settings, create_app(store.settings))
    try:
        ids = [str(uuid.uuid4()) for _ in range(count)]
        began = time.time_ns() // 1_000 - count  # before anything that is submitted from now on
        random = np.random.default_rng(count)
        for chunk in _chunks(ids):
            vectors = random.standard_normal((len(chunk), store.settings.space.dimensions), dtype=np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            scripts.run(
                services.data,
                [
                    _added(
                        services,
                        store.client.project,
                        number,
                        memory_id,
                        began=began,
                        vector=vector.astype("<f4").tobytes(),
                    )
                    for (number, memory_id), vector in zip(chunk, vectors, strict=True)
                ],
            )
    finally:
        services.stop()
    store.ids = ids
    return ids


def user_of(number: int) -> str:
    """The user whom the memory of that number belongs to."""
    return f"user-{number // PER_USER}"


def users(count: int) -> list[str]:
    """All users of a store with so many memories."""
    return [user_of(number) for number in range(0, count, PER_USER)]


def _added(services, project, number, memory_id, *, began, vector) -> scripts.Command:
    operation = Add(
        job_id=str(uuid.uuid4()),
        project=project,
        submitted=began + number,
        memory_id=memory_id,
        text=f"fact {memory_id} as it was; the person said so",
        metadata={"source": "bench"},
        user_id=user_of(number),
        role="user",
    )
    change = apply_operation(MemoryState(memory_id), operation, snapshot=None, now=began, metadata_limit=16_384)
    assert change is not None
    space = SpaceRecord(services.settings.space)
    return commit_command(services.store, [change], [(space, vector)], "seed", spaces=Spaces("", [space]))


def _chunks(ids):
    numbered = list(enumerate(ids))
    return (numbered[first : first + _AT_A_TIME] for first in range(0, len(numbered), _AT_A_TIME))
