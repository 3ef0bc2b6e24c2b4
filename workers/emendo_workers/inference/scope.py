"""The scope of an add: one worker at a time infers in it, and what it knows is found by likeness."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from emendo_client import records
from emendo_client.filters import scoped
from emendo_client.operations import scope_name
from emendo_client.reads import nearest
from emendo_client.records import text_hash
from emendo_workers import scripts
from emendo_workers.inference.types import Neighbour
from emendo_workers.operations import Operation
from emendo_workers.services import Services


@dataclass(frozen=True, slots=True)
class Known:
    """A memory near a fact.

    Attributes:
        score: cosine similarity, at most 1.
    """

    memory: Neighbour
    score: float


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


def search(services: Services, questions: Sequence[tuple[Operation, bytes]]) -> list[list[Known]]:
    """What is known in the scope of each operation that is nearest to its vector (float32[dimensions]), nearest first.

    As `client.search` with the operation's ids finds it: a memory that has more ids than were given is found, too.
    """
    settings, keys = services.settings, services.keys
    commands = [
        tuple(
            nearest(
                keys,
                scoped(about.project, about.user_id, about.agent_id, about.run_id, None, all_users=False),
                settings.space.field,
                vector,
                settings.inference_neighbours,
            )
        )
        for about, vector in questions
    ]
    return [
        [Known(Neighbour(hit.id, hit.memory, hit.version), hit.score) for hit in hits]
        for _, hits in (records.memories_found(reply, scored=True) for reply in scripts.run(services.data, commands))
    ]
