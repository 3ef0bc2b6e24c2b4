"""The scope of an add: one worker at a time infers in it, and what it knows is found by likeness."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from redis.exceptions import ResponseError

from emendo_client import records
from emendo_client.embeddings.vectors import converted
from emendo_client.errors import VectorStoreError
from emendo_client.filters import scoped
from emendo_client.operations import scope_name
from emendo_client.reads import nearest
from emendo_client.records import text_hash
from emendo_config.registry import SpaceRecord
from emendo_workers import scripts
from emendo_workers.inference.types import Known, Neighbour
from emendo_workers.operations import Operation
from emendo_workers.services import Services
from emendo_workers.spaces import searched_space


def scope_of(operation: Operation) -> str:
    """The name of the scope it is about."""
    return scope_name(operation.project, operation.user_id, operation.agent_id, operation.run_id)


@contextmanager
def locked(services: Services, scopes: Sequence[str]) -> Iterator[set[str]]:
    """Holds the locks of those scopes that nobody else holds, which are given, while the block runs.

    Like a memory's lock it saves work and no more: when a worker stands still for longer than its lease, two may infer
    in one scope, and a fact that both of them add is there twice.
    """
    token = secrets.token_hex(16)
    locks = {scope: services.keys.scope_lock(text_hash(scope)) for scope in dict.fromkeys(scopes)}
    takes = [scripts.take(lock, token, services.lease_ms) for lock in locks.values()]
    taken = scripts.run(services.data, takes)
    held = {scope: lock for (scope, lock), is_ours in zip(locks.items(), taken, strict=True) if is_ours}
    with services.keeper.holding(list(held.values()), token):
        try:
            yield set(held)
        finally:
            scripts.run(services.data, [scripts.release(lock, token) for lock in held.values()])


def search(services: Services, space: SpaceRecord, questions: Sequence[tuple[Operation, bytes]]) -> list[list[Known]]:
    """What is known in the scope of each operation that is nearest to its vector, nearest first.

    As `client.search` with the operation's ids finds it: a memory that has more ids than were given is found, too.

    Args:
        services: the worker's.
        space: the active one.
        questions: vectors as float32[dimensions] bytes, of that space.

    Raises:
        VectorStoreError: another space is the active one by now.
    """
    settings, keys = services.settings, services.keys
    commands = [
        tuple(
            nearest(
                keys,
                scoped(about.project, about.user_id, about.agent_id, about.run_id, None, all_users=False),
                space.field,
                converted(vector, "float32", space.datatype),
                settings.inference_neighbours,
            )
        )
        for about, vector in questions
    ]
    try:
        replies = scripts.run(services.data, commands)
    except ResponseError as error:
        if searched_space(services).name == space.name:
            raise
        raise VectorStoreError("another embedding space became the active one", error_code="SPACE_SWITCHED") from error
    found = (records.memories_found(reply, scored=True, metric=space.metric)[1] for reply in replies)
    return [[Known(Neighbour(hit.id, hit.memory, hit.version), hit.score) for hit in hits] for hits in found]
