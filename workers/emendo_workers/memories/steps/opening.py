"""The first step: lock and read the memories, and find operations that were applied before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from emendo_client.exchanges.redis_errors import without_content
from emendo_client.records.memories import DAMAGES
from emendo_config.json_codec import read_json
from emendo_config.spaces.registry import SpaceRecord, registered_spaces
from emendo_config.store import scripts
from emendo_config.store.formats import listed_spaces, parse_applied
from emendo_config.store.pipeline import as_text
from emendo_workers.jobs.operations import PendingDelete, PendingUpdate, Resolve
from emendo_workers.jobs.outcomes import ItemOutcome, cancelled_error
from emendo_workers.memories.change import applied_result
from emendo_workers.memories.history import effect_of
from emendo_workers.memories.space_catch_up import SpaceCatchUp
from emendo_workers.memories.state import parse_damaged, parse_state
from emendo_workers.memories.steps.memory_changes import NEEDS_PENDING, MemoryChanges
from emendo_workers.memories.three_way_merge import repeats
from emendo_workers.store import Store

# The clocks of the two Redis planes may differ by so many seconds, so an applied key may expire that much too soon.
# At most this part of EMENDO_JOB_TTL counts, or a new job would read the history.
_EXPIRY_MARGIN, _MARGIN_SHARE = 3_600.0, 0.25

# Documents that are read in one step.
_PAGE = 100


class Opened(NamedTuple):
    """The registered spaces, and the memories that are locked and have operations waiting."""

    spaces: tuple[SpaceRecord, ...]
    memories: list[MemoryChanges]


def open_memories(store: Store, memories: Sequence[MemoryChanges], token: str, catch_up: SpaceCatchUp) -> Opened:
    """Locks and reads the memories, in one round trip.

    Ends the operations of memories that another worker holds, and those that were applied before.

    Args:
        store: connections, keys, settings.
        memories: with operations waiting.
        token: the locks'.
        catch_up: takes note of memories whose operation was applied before.
    """
    keys = store.keys
    registry, *replies = scripts.run(
        store.data,
        [
            ("HGETALL", keys.spaces),
            *(
                scripts.open_memory(
                    lock=keys.lock(memory.memory_id),
                    memory=keys.memory(memory.memory_id),
                    token=token,
                    ttl_ms=store.lease_ms,
                    applied=[keys.applied(memory.memory_id, operation.applied_id) for operation in memory.waiting],
                )
                for memory in memories
            ),
        ],
    )
    spaces = registered_spaces(registry, store.settings)
    forgotten = _forgotten_until(store)
    for memory, read in zip(memories, scripts.open_memory.replies(replies), strict=True):
        if read is None:
            memory.end_busy()
            continue
        *values, listed = read.values
        damage = None
        try:
            memory.listed = listed.decode() if listed else ""
            memory.state = state = parse_state(memory.memory_id, values)
        except DAMAGES as error:
            memory.state = state = parse_damaged(memory.memory_id, read.values)
            damage = without_content(error)
        for operation, stored in zip(list(memory.waiting), read.applied, strict=True):
            text = as_text(stored)
            applied = parse_applied(text) if text else None
            if applied is None and state.version and operation.submitted <= forgotten:
                applied = effect_of(store, operation)
            if applied is not None and applied.is_cancelled:
                memory.end(ItemOutcome(operation, error=cancelled_error()))
            elif applied is not None:
                if damage is None:  # the attempt may have died before it saw the spaces there are now
                    catch_up.note(state, listed_spaces(memory.listed), spaces)
                memory.end(ItemOutcome(operation, result=applied_result(operation, applied)))
        if damage is not None:
            memory.end_unreadable(damage)
    opened = [memory for memory in memories if memory.waiting]
    _read_pending(store, opened)
    return Opened(spaces, opened)


def _forgotten_until(store: Store) -> float:
    """The submission time (microseconds) up to which an operation's applied key may have expired.

    The history has the effect of such an operation.
    """
    kept = store.settings.job_ttl - min(_EXPIRY_MARGIN, _MARGIN_SHARE * store.settings.job_ttl)
    return (store.control_time() - kept) * 1_000_000


def _read_pending(store: Store, memories: Sequence[MemoryChanges]) -> None:
    """Reads the submissions that wait for a person, where an operation needs them."""
    memories = [memory for memory in memories if any(isinstance(each, NEEDS_PENDING) for each in memory.waiting)]
    asked = [
        (memory, marks)
        for memory in memories
        if (marks := [operation.conflict for operation in memory.waiting if isinstance(operation, Resolve)])
    ]
    replies = scripts.run(
        store.data, [("HMGET", store.keys.conflict(memory.memory_id), *marks) for memory, marks in asked]
    )
    for (memory, marks), documents in zip(asked, replies, strict=True):
        found = zip(marks, documents, strict=True)
        memory.pending = {mark: read_json(document) for mark, document in found if document is not None}
    for memory in memories:
        proposed = [each for each in memory.waiting if isinstance(each, PendingDelete | PendingUpdate)]
        if proposed:
            memory.pending |= _repeated(store, memory.memory_id, proposed)


def _repeated(
    store: Store, memory_id: str, proposed: Sequence[PendingDelete | PendingUpdate]
) -> dict[str, dict[str, Any]]:
    """Those of the submissions that wait for a person which the proposed ones repeat; any number of others may wait."""
    found = {}
    for mark, stored in store.data.hscan_iter(store.keys.conflict(memory_id), count=_PAGE):
        document = read_json(stored)
        if any(repeats(each, document) for each in proposed):
            found[as_text(mark)] = document
    return found
