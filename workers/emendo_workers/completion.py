"""What a batch still owes when it has committed, since embedding spaces were opened or left meanwhile.

Who fills a space, or removes one, may have looked at a memory just before it was committed by a worker that did not
know of that yet. So no job ends before its memories have the vector of each space that is written, and of no other one.
A worker that dies before is no matter: the job is tried again, finds its applied mark, and what it owes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

from emendo_client.errors import EmendoError
from emendo_config.registry import SpaceRecord, SpaceState, newest_listed, registered_spaces
from emendo_config.spaces import VECTOR_PREFIX
from emendo_workers import scripts
from emendo_workers.reembedding.backfill import Backfilled, backfill
from emendo_workers.retry import is_transient
from emendo_workers.services import Services
from emendo_workers.state import MemoryState


class Completion:
    """Of one batch: is told of its memories, and does for them what is left to do."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._lacking: set[str] = set()
        self._left: dict[str, tuple[AbstractSet[str], AbstractSet[str]]] = {}

    def note(self, state: MemoryState, listed: AbstractSet[str], spaces: Iterable[SpaceRecord]) -> None:
        """Looks at what a memory lists, after a commit or when its operation is found applied.

        Args:
            state: the memory's.
            listed: the spaces it lists.
            spaces: those registered, as read after the commit.
        """
        written = _names_written(spaces)
        if state.hash and not written <= listed:
            self._lacking.add(state.id)
        # Never the last one: a registry that knows none of a memory's spaces is more likely lost than right.
        if listed - written and listed & written:
            self._left[state.id] = listed, listed - written
        else:
            self._left.pop(state.id, None)

    def run(self, spaces: Iterable[SpaceRecord]) -> dict[str, EmendoError]:
        """Does it.

        Args:
            spaces: those registered.

        Returns:
            Memories whose vector of a live space could not be had now, but may be later: why.

        Raises:
            RedisError: Redis failed midway; a further attempt finds what is left to do.
        """
        if self._left:
            spaces = self._leave(spaces)
        put_off: dict[str, EmendoError] = {}
        for space in spaces if self._lacking else ():
            if space.is_written:
                answers = backfill(self._services, sorted(self._lacking), space)
                put_off |= _worth_waiting_for(answers) if space.state is SpaceState.LIVE else {}
        return put_off

    def _leave(self, spaces: Iterable[SpaceRecord]) -> tuple[SpaceRecord, ...]:
        """Removes vectors of spaces that are left; the spaces that are registered afterwards."""
        keys, commands = self._services.keys, []
        for memory_id, (listed, left) in self._left.items():
            stays = newest_listed(spaces, listed - left)
            model = stays.space.model if stays is not None else ""
            commands += [
                scripts.drop(keys.memory(memory_id), space=name, field=f"{VECTOR_PREFIX}{name}", model=model)
                for name in left
            ]
        *_, registry = scripts.run(self._services.data, [*commands, ("HGETALL", keys.spaces)])
        now = registered_spaces(registry, self._services.settings)
        # One of them may have been opened anew, under the same name, and counted the vector that was just removed.
        opened = _names_written(now)
        self._lacking.update(memory_id for memory_id, (_, left) in self._left.items() if left & opened)
        return now


def _names_written(spaces: Iterable[SpaceRecord]) -> frozenset[str]:
    return frozenset(space.name for space in spaces if space.is_written)


def _worth_waiting_for(answers: Mapping[str, Backfilled | EmendoError]) -> dict[str, EmendoError]:
    return {
        memory_id: answer
        for memory_id, answer in answers.items()
        if isinstance(answer, EmendoError) and is_transient(answer)
    }
