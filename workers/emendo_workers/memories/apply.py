"""The one path that changes memories: open → decide → embed → commit, for a whole batch at once.

Each step is one pipelined round trip over all memories of the batch. The operations on one memory are applied in order
and committed together. Each gets its own version and history entry; only the last text is embedded. A memory takes
another round if another worker commits first, or if an operation is cancelled or refused by the provider. The other
memories are done.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from redis.exceptions import ResponseError

from emendo_client.errors import from_document
from emendo_client.records.memories import DAMAGES
from emendo_config import metric_families as metrics
from emendo_config.spaces.registry import SpaceRecord, require_registry
from emendo_config.store import scripts
from emendo_workers.jobs.operations import Invalid, Operation
from emendo_workers.jobs.outcomes import ItemOutcome
from emendo_workers.jobs.store_outages import failure_of, is_away
from emendo_workers.memories.space_catch_up import SpaceCatchUp
from emendo_workers.memories.steps.committing import commit_changes
from emendo_workers.memories.steps.deciding import Decider
from emendo_workers.memories.steps.embedding import embed_texts
from emendo_workers.memories.steps.memory_changes import MemoryChanges, group_by_memory
from emendo_workers.memories.steps.opening import open_memories
from emendo_workers.memories.text_vectors import TextVectors
from emendo_workers.providers.text_merger import TextMerger
from emendo_workers.runtime.memory_limit import no_room
from emendo_workers.services import Services

logger = logging.getLogger(__name__)

# Rounds a memory gets while others keep changing it, before its jobs are put aside for a moment.
MAX_ROUNDS = 10
# Random bytes of a commit's id, in base64. Two commits must differ that make the same version of one memory.
COMMIT_ID_BYTES = 6


def apply_operations(
    operations: Sequence[Operation],
    services: Services,
    *,
    merger: TextMerger | None = None,
    cancelled: AbstractSet[str] = frozenset(),
    vectors: TextVectors | None = None,
) -> list[ItemOutcome]:
    """Carries the operations out; an outcome for each, in their order.

    Args:
        operations: of any jobs, on any memories.
        services: the worker's.
        merger: merges texts; without one, operations that need it are handed over (see `ItemOutcome`).
        cancelled: jobs that are cancelled already; only effects of earlier attempts are reported for them.
        vectors: those embedded for the operations already.

    Raises:
        RedisError: Redis failed midway. Commits stay, and a further attempt finds them.
    """
    outcomes: dict[int, ItemOutcome] = {}
    valid: list[Operation] = []
    for operation in operations:
        if isinstance(operation, Invalid):  # it needs no memory, and no lock
            outcomes[id(operation)] = ItemOutcome(operation, error=from_document(operation.error))
        else:
            valid.append(operation)
    memories = group_by_memory(valid)
    _Rounds(services, merger, cancelled, vectors or TextVectors(services)).run(memories)
    for memory in memories:
        outcomes.update((id(outcome.operation), outcome) for outcome in memory.outcomes)
    return [outcomes[id(operation)] for operation in operations]


class _Rounds:
    """The rounds of one batch; it keeps the registered spaces and the vectors to catch up with between them."""

    def __init__(
        self, services: Services, merger: TextMerger | None, cancelled: AbstractSet[str], vectors: TextVectors
    ) -> None:
        self._services = services
        self._decider = Decider(services.store, merger)
        self._cancelled = cancelled
        self._vectors = vectors
        self._token = secrets.token_hex(16)
        self._spaces: tuple[SpaceRecord, ...] = ()
        self._catch_up = SpaceCatchUp(services)

    def run(self, memories: Sequence[MemoryChanges]) -> None:
        """Gives every waiting operation its outcome."""
        self._isolate(memories)
        delayed = self._catch_up.run(self._spaces)
        for memory in memories if delayed else ():
            if memory.memory_id in delayed:
                memory.delay_changes(delayed[memory.memory_id])

    def _isolate(self, memories: Sequence[MemoryChanges]) -> None:
        """Takes the rounds; of many memories, one that cannot be read or written fails alone.

        Halves are tried until it is found. A commit whose answer was lost is found by its applied key.

        Raises:
            ConfigurationError: (SPACES_UNREADABLE) no memory is at fault, but the registry of spaces.
        """
        try:
            self._take_rounds(memories)
        except (ResponseError, *DAMAGES) as error:
            left = [memory for memory in memories if memory.waiting]
            if is_away(error) or not left:
                raise
            require_registry(self._services.data, self._services.keys)
            if len(left) == 1:
                logger.exception("a memory cannot be read or written", extra={"memory": left[0].memory_id})
                left[0].end_failed(failure_of(error))
                return
            middle = len(left) // 2
            for half in (left[:middle], left[middle:]):
                self._isolate(half)

    def _take_rounds(self, memories: Sequence[MemoryChanges]) -> None:
        services = self._services
        with services.leases.renewing([services.keys.lock(memory.memory_id) for memory in memories], self._token):
            try:
                remaining = memories
                for _ in range(MAX_ROUNDS):
                    remaining = self._round(remaining)
                    if not remaining:
                        break
                for memory in remaining:
                    memory.end_busy()
            finally:
                # A commit releases its own lock.
                held = [services.keys.lock(memory.memory_id) for memory in memories if not memory.is_committed]
                scripts.run(services.data, [scripts.release(lease=lock, token=self._token) for lock in held])

    def _round(self, memories: Sequence[MemoryChanges]) -> list[MemoryChanges]:
        """One pass over memories with operations waiting; returns those that need another."""
        tally = self._services.store.tally
        with tally.stage(metrics.LOCK, "open"):
            self._spaces, opened = open_memories(self._services.store, memories, self._token, self._catch_up)
        self._services.pipelines.retain(self._spaces)
        for memory in opened if self._cancelled else ():
            memory.drop_cancelled(self._cancelled)
        # A round commits each memory once at most, so one id is enough for all of them.
        with tally.stage(metrics.PROVIDER, "decide"):  # it may ask the chat model
            self._decider.decide(opened, secrets.token_urlsafe(COMMIT_ID_BYTES))
        if self._services.room.is_short:  # the commit would be refused, and the vectors paid for in vain
            for memory in opened:
                if memory.changes and not memory.changes[-1].after.erased:
                    memory.end_changes(no_room())
        with tally.stage(metrics.PROVIDER, "embed"):
            embed_texts(opened, self._spaces, self._vectors)
        self._drop_cancelled(opened)
        changed = [memory for memory in opened if memory.changes]
        if changed:
            with tally.stage(metrics.COMMIT, "commit"):
                self._spaces = commit_changes(self._services, changed, self._spaces, self._token, self._catch_up)
        return [memory for memory in memories if memory.waiting]

    def _drop_cancelled(self, memories: Sequence[MemoryChanges]) -> None:
        """The last look before the commit whether somebody cancelled one of the jobs."""
        job_ids = list({change.operation.job_id for memory in memories for change in memory.changes})
        if not job_ids:
            return
        control, key = self._services.control, self._services.keys.cancelling
        if not control.exists(key):
            return
        marks = control.smismember(key, job_ids)
        cancelled = {job_id for job_id, marked in zip(job_ids, marks, strict=True) if marked}
        for memory in memories:
            memory.drop_cancelled(cancelled)
