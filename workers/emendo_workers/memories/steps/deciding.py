"""The second step: decide the operations of each memory, one on the state after the other."""

from __future__ import annotations

from collections.abc import Sequence

from emendo_client.errors import EmendoError
from emendo_workers.jobs.operations import Operation, Restore
from emendo_workers.jobs.outcomes import ItemOutcome
from emendo_workers.memories.change import Change
from emendo_workers.memories.decide import apply_operation, base_version
from emendo_workers.memories.history import snapshot_at, snapshot_before
from emendo_workers.memories.state import MemoryState, Snapshot
from emendo_workers.memories.steps.memory_changes import MemoryChanges
from emendo_workers.memories.three_way_merge import MergedTexts, NeedsMerge
from emendo_workers.providers.text_merger import TextMerger
from emendo_workers.store import Store


class Decider:
    """Decides a batch's operations; a text is merged once, however many rounds need it.

    Args:
        store: connections, keys, settings.
        merger: None hands operations over that need a merge (see `ItemOutcome`).
    """

    def __init__(self, store: Store, merger: TextMerger | None) -> None:
        self._store = store
        self._merger = merger
        self._merged_texts = MergedTexts() if store.settings.has_chat_model else None
        self._now = 0

    def decide(self, memories: Sequence[MemoryChanges], commit_id: str) -> None:
        """Fills in `changes` and `unchanged` of memories that are open.

        Args:
            memories: of one round.
            commit_id: of the commits that this round will make.
        """
        self._now = self._time()  # one time for all: reading the clock for each operation is no more exact
        for memory in memories:
            assert memory.state is not None  # it is open
            state, memory.changes, memory.unchanged = memory.state, [], []
            for operation in list(memory.waiting):
                try:
                    change = self._change(memory, state, operation)
                except NeedsMerge:
                    memory.end(ItemOutcome(operation, handed_over=True))
                except EmendoError as error:
                    memory.unchanged.append(ItemOutcome(operation, error=error))
                else:
                    if change is None:
                        memory.unchanged.append(_nothing_done(operation, state))
                        continue
                    memory.changes.append(change)
                    state = change.after
                    if not state.erased:  # nothing is ever based on a tombstone
                        state.commit_id = commit_id
            if not memory.changes:
                memory.end_unchanged()

    def _change(self, memory: MemoryChanges, state: MemoryState, operation: Operation) -> Change | None:
        """The decision; texts are merged on the way, if there is a merger."""
        while True:
            try:
                return apply_operation(
                    state,
                    operation,
                    snapshot=self._snapshot(memory, state, operation),
                    now=self._now,
                    metadata_limit=self._store.settings.max_metadata_bytes,
                    shared_scopes=self._store.settings.inference_shared_scopes,
                    pending=memory.pending_for(operation),
                    merged_texts=self._merged_texts,
                )
            except NeedsMerge as question:
                if self._merger is None or self._merged_texts is None:
                    raise
                self._merged_texts.found[question.texts] = self._merger.merge(question.texts)
                self._now = self._time()

    def _time(self) -> int:
        """Microseconds by the clock that decides what has expired."""
        return int(self._store.data_time() * 1_000_000)

    def _snapshot(self, memory: MemoryChanges, state: MemoryState, operation: Operation) -> Snapshot | None:
        """The earlier state an operation refers to: decided in this round, or in the history."""
        version = operation.version if isinstance(operation, Restore) else base_version(state, operation)
        if version is None:
            return None
        if not version:
            return snapshot_before(self._store, operation.memory_id, operation.submitted)
        decided = [change.after.snapshot for change in memory.changes if change.after.version == version]
        return decided[0] if decided else snapshot_at(self._store, operation.memory_id, version)


def _nothing_done(operation: Operation, state: MemoryState) -> ItemOutcome:
    """The outcome of an operation that found nothing to do: no change, no history entry."""
    result = {"memory_id": state.id, "event": None, "version": state.version, "error": None}
    return ItemOutcome(operation, result=result, based_on=(state.version, state.commit_id))
