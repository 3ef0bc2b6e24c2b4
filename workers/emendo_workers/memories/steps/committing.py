"""The last step: commit each memory's changes; a memory that somebody else changed stays for the next round."""

from __future__ import annotations

from collections.abc import Sequence

from redis.exceptions import OutOfMemoryError

from emendo_client.exchanges.redis_errors import translate
from emendo_config import metric_families as metrics
from emendo_config.spaces.registry import SpaceRecord, registered_spaces
from emendo_config.store import scripts
from emendo_workers.jobs.outcomes import ItemOutcome
from emendo_workers.memories.commit import commit_command
from emendo_workers.memories.erasure import announcement
from emendo_workers.memories.space_catch_up import SpaceCatchUp
from emendo_workers.memories.space_listing import Spaces, listed_after
from emendo_workers.memories.steps.memory_changes import MemoryChanges
from emendo_workers.services import Services


def commit_changes(
    services: Services,
    memories: Sequence[MemoryChanges],
    spaces: tuple[SpaceRecord, ...],
    token: str,
    catch_up: SpaceCatchUp,
) -> tuple[SpaceRecord, ...]:
    """Commits the changes, in one round trip, and ends their operations.

    Args:
        services: the worker's.
        memories: at least one, each with changes.
        spaces: as they were when the changes were decided.
        token: the memory locks'.
        catch_up: takes note of memories whose spaces changed meanwhile.

    Returns:
        The spaces that are registered after the commits.
    """
    announcements = [
        announcement(services.store, memory.memory_id) for memory in memories if memory.changes[-1].after.erased
    ]
    commands = [
        commit_command(services.store, memory.changes, memory.vectors, token, spaces=Spaces(memory.listed, spaces))
        for memory in memories
    ]
    replies = scripts.run(
        services.data, [*announcements, *commands, ("HGETALL", services.keys.spaces)], kept=(OutOfMemoryError,)
    )
    *replies, registry = replies[len(announcements) :]
    spaces_now = registered_spaces(registry, services.settings)
    repeated = 0
    for memory, reply in zip(memories, replies, strict=True):
        if isinstance(reply, OutOfMemoryError):
            services.room.note_refusal()
            memory.end_changes(translate(reply))
            continue
        if scripts.commit.reply(reply) != "committed":
            repeated += 1
            continue
        memory.is_committed = True
        if spaces_now != spaces:  # an added space lacks its vector; one that is left got a vector it must lose
            listed = listed_after(memory.changes, memory.vectors, Spaces(memory.listed, spaces))
            catch_up.note(memory.changes[-1].after, listed, spaces_now)
        for change in memory.changes:
            memory.end(ItemOutcome(change.operation, result=change.result()))
        memory.end_unchanged()
    if repeated:
        counts: dict[str, int] = {}
        metrics.count(counts, metrics.CONFLICTS, "repeated", by=repeated)
        services.store.tally.add(counts)
    return spaces_now
