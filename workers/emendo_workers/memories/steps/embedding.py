"""The third step: vectors for the texts that remain after all changes of a memory."""

from __future__ import annotations

from collections.abc import Sequence

from emendo_client.errors import EmendoError
from emendo_config.spaces.registry import SpaceRecord, SpaceState
from emendo_config.store.formats import listed_spaces
from emendo_workers.jobs.outcomes import ItemOutcome
from emendo_workers.memories.change import Change
from emendo_workers.memories.steps.memory_changes import MemoryChanges
from emendo_workers.memories.text_vectors import TextVectors


def embed_texts(memories: Sequence[MemoryChanges], spaces: Sequence[SpaceRecord], vectors: TextVectors) -> None:
    """Fills in `vectors`; an operation whose text a live space cannot embed ends with the error.

    A space that is only being filled holds up no write: its backfill finds the missing vector.
    """
    for memory in memories:
        memory.vectors = []
    # Live spaces first: a text they refuse need not be paid for in the others.
    for space in sorted(spaces, key=lambda space: space.state is not SpaceState.LIVE):
        lacking = [memory for memory in memories if memory.changes and _needs_vector(memory, space)]
        if not lacking:
            continue
        found = vectors.find(space, [memory.changes[-1].after.memory for memory in lacking])
        for memory in lacking:
            answer = found[memory.changes[-1].after.memory]
            if not isinstance(answer, EmendoError):
                memory.vectors.append((space, answer))
            elif space.state is SpaceState.LIVE:
                memory.end(ItemOutcome(_text_writer(memory.changes).operation, error=answer))
                memory.changes = []  # the next round decides the other operations again, without this one


def _needs_vector(memory: MemoryChanges, space: SpaceRecord) -> bool:
    """False for changes that keep the text: they must not pay for an embedding."""
    first, last = memory.changes[0], memory.changes[-1]
    if last.after.erased or not space.is_written:
        return False
    if last.after.hash != first.before.hash:
        return True
    if last.after.is_deleted or space.name == memory.listed:  # most memories have one space
        return False
    return space.name not in listed_spaces(memory.listed)


def _text_writer(changes: Sequence[Change]) -> Change:
    """The change that set the last text."""
    remaining = changes[-1].after.hash
    writers = [change for change in changes if change.after.hash == remaining != change.before.hash]
    return writers[-1] if writers else changes[-1]
