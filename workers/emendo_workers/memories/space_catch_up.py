"""Vectors to add or remove after a commit, because embedding spaces were opened or left meanwhile.

A re-embedding may look at a memory just before a worker that does not know of it yet commits. So a job ends only when
its memories have the vectors of all spaces that are written, and of no others. If the worker dies before that, the
next attempt finds the applied key and does the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

from emendo_client.errors import EmendoError
from emendo_config.embedding_space import VECTOR_PREFIX
from emendo_config.spaces.registry import SpaceRecord, SpaceState, newest_listed, registered_spaces
from emendo_config.store import scripts
from emendo_workers.jobs.retry import is_transient
from emendo_workers.memories.backfill import Backfilled, backfill
from emendo_workers.memories.state import MemoryState
from emendo_workers.services import Services


class SpaceCatchUp:
    """Collects the memories of one batch that need vectors added or removed, and does so at the end."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._lacking: set[str] = set()
        self._leftover: dict[str, tuple[AbstractSet[str], AbstractSet[str]]] = {}

    def note(self, state: MemoryState, listed: AbstractSet[str], spaces: Iterable[SpaceRecord]) -> None:
        """Takes note of a memory after its commit, or when its operation was applied before.

        Args:
            state: the memory's.
            listed: the spaces it lists.
            spaces: those registered, as read after the commit.
        """
        written = _names_written(spaces)
        if state.hash and not written <= listed:
            self._lacking.add(state.id)
        # Never the last one: a registry that knows none of a memory's spaces is probably lost.
        if listed - written and listed & written:
            self._leftover[state.id] = listed, listed - written
        else:
            self._leftover.pop(state.id, None)

    def run(self, spaces: Iterable[SpaceRecord]) -> dict[str, EmendoError]:
        """Removes and adds the vectors.

        Args:
            spaces: those registered.

        Returns:
            The error of each memory that lacks the vector of a live space, where a later attempt may succeed.

        Raises:
            RedisError: Redis failed midway; a further attempt finds the rest.
        """
        if self._leftover:
            spaces = self._leave(spaces)
        delayed: dict[str, EmendoError] = {}
        for space in spaces if self._lacking else ():
            if space.is_written:
                answers = backfill(self._services, sorted(self._lacking), space)
                delayed |= _transient_errors(answers) if space.state is SpaceState.LIVE else {}
        return delayed

    def _leave(self, spaces: Iterable[SpaceRecord]) -> tuple[SpaceRecord, ...]:
        """Removes vectors of spaces that were left; returns the spaces registered afterwards."""
        keys, commands = self._services.keys, []
        for memory_id, (listed, left) in self._leftover.items():
            stays = newest_listed(spaces, listed - left)
            model = stays.space.model if stays is not None else ""
            memory = keys.memory(memory_id)
            commands += [
                scripts.drop_vector(memory=memory, space=name, field=f"{VECTOR_PREFIX}{name}", model=model)
                for name in left
            ]
        *_, registry = scripts.run(self._services.data, [*commands, ("HGETALL", keys.spaces)])
        now = registered_spaces(registry, self._services.settings)
        # A space may have been opened again under the same name, and counted the vector that was just removed.
        opened = _names_written(now)
        self._lacking.update(memory_id for memory_id, (_, left) in self._leftover.items() if left & opened)
        return now


def _names_written(spaces: Iterable[SpaceRecord]) -> frozenset[str]:
    return frozenset(space.name for space in spaces if space.is_written)


def _transient_errors(answers: Mapping[str, Backfilled | EmendoError]) -> dict[str, EmendoError]:
    return {
        memory_id: answer
        for memory_id, answer in answers.items()
        if isinstance(answer, EmendoError) and is_transient(answer)
    }
