"""The one path that changes memories: open → decide → embed → commit, for a whole batch at once.

Each step is one pipelined round trip over all memories of the batch. The operations on one memory are
applied in order and committed together, each with its own version and history entry; only the text that
remains is embedded. When a commit finds that somebody was faster, or an operation drops out (cancelled,
refused by the provider), its memory takes another round; the others are done.
"""

from __future__ import annotations

import itertools
import logging
import secrets
import time
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from emendo_client.errors import EmendoError, from_document
from emendo_config.compact import read_json
from emendo_config.redis_io import as_text
from emendo_config.registry import SpaceRecord, SpaceState, registered_spaces
from emendo_workers import scripts
from emendo_workers.commits import Spaces, applied_result, commit_command, listed_after
from emendo_workers.completion import Completion
from emendo_workers.decide import Change, apply_operation, base_version
from emendo_workers.history import effect_of, snapshot_at, snapshot_before, texts_of
from emendo_workers.merging import Merger
from emendo_workers.operations import Operation
from emendo_workers.outcomes import ItemOutcome
from emendo_workers.reconcile import Merges, NeedsMerge, is_delete
from emendo_workers.services import Services
from emendo_workers.state import MemoryState, Snapshot, listed_spaces, parse_state
from emendo_workers.text_vectors import TextVectors

logger = logging.getLogger(__name__)

# Rounds a memory gets when others keep changing it, before its jobs are put aside for a moment.
MAX_ROUNDS = 10
# An applied mark may be gone this long (microseconds) before it should, by the clock of this machine: clocks differ.
_MARK_MARGIN = 3_600_000_000


@dataclass(slots=True)
class _Unit:
    """One memory and the batch's operations on it, in the order of submission.

    Attributes:
        spaces: the memory's `embedding_space`.
        changes: decided upon one another, not yet committed.
        vectors: of the text that remains after them, where they are needed.
        idle: outcomes that rest on those changes; if these are not committed, they are decided anew, too.
    """

    memory_id: str
    waiting: list[Operation]
    state: MemoryState | None = None
    spaces: str = ""
    changes: list[Change] = field(default_factory=list)
    vectors: list[tuple[SpaceRecord, bytes]] = field(default_factory=list)
    idle: list[ItemOutcome] = field(default_factory=list)
    queued: dict[str, dict[str, Any]] = field(default_factory=dict)


def apply_operations(
    operations: Sequence[Operation],
    services: Services,
    *,
    merger: Merger | None = None,
    cancelled: AbstractSet[str] = frozenset(),
    vectors: TextVectors | None = None,
) -> list[ItemOutcome]:
    """Carries the operations out; an outcome for each, in their order.

    Args:
        operations: of any jobs, on any memories.
        services: the worker's.
        merger: merges texts; without one, operations that need it are handed over (see `ItemOutcome`).
        cancelled: jobs that are cancelled already: of them only what was done before is found.
        vectors: what was embedded for them already.

    Raises:
        RedisError: Redis failed midway; what was committed stays, and a further attempt finds it.
    """
    return _Batch(operations, services, merger, cancelled, vectors or TextVectors(services)).run()


class _Batch:
    def __init__(
        self,
        operations: Sequence[Operation],
        services: Services,
        merger: Merger | None,
        cancelled: AbstractSet[str],
        vectors: TextVectors,
    ) -> None:
        self._operations = operations
        self._services = services
        self._merger = merger
        self._cancelled = cancelled
        self._merges = Merges() if services.settings.has_chat_model else None
        self._token = secrets.token_hex(16)
        self._done: dict[int, ItemOutcome] = {}
        self._committed: set[str] = set()
        self._vectors = vectors
        self._spaces: tuple[SpaceRecord, ...] = ()
        self._completion = Completion(services)

    def run(self) -> list[ItemOutcome]:
        for operation in self._operations:
            if operation.op == "invalid":  # refused when it was sent: it needs no memory, and no lock
                self._end(ItemOutcome(operation, error=from_document(operation.error or {})))
        units = _group([operation for operation in self._operations if id(operation) not in self._done])
        locks = {unit.memory_id: self._services.keys.lock(unit.memory_id) for unit in units}
        with self._services.keeper.holding(list(locks.values()), self._token):
            try:
                for _ in range(MAX_ROUNDS):
                    units = self._round(units)
                    if not units:
                        break
                for operation in itertools.chain.from_iterable(unit.waiting for unit in units):
                    self._end(ItemOutcome(operation, busy=True))
            finally:
                # A commit releases its own lock; what is left are memories nothing was committed to.
                held = [lock for memory_id, lock in locks.items() if memory_id not in self._committed]
                scripts.run(self._services.data, [scripts.release(lock, self._token) for lock in held])
        for memory_id, error in self._completion.run(self._spaces).items():
            self._put_off(memory_id, error)
        return [self._done[id(operation)] for operation in self._operations]

    def _round(self, units: list[_Unit]) -> list[_Unit]:
        """One pass over the memories that still have operations waiting; returns those that need another."""
        opened = self._open(units)
        self._drop(opened, self._cancelled)
        self._decide(opened)
        self._embed(opened)
        self._drop_cancelled(opened)
        self._commit([unit for unit in opened if unit.changes])
        return [unit for unit in units if unit.waiting]

    def _open(self, units: list[_Unit]) -> list[_Unit]:
        keys, services = self._services.keys, self._services
        registry, *replies = scripts.run(
            services.data,
            [
                ("HGETALL", keys.spaces),
                *(
                    scripts.open_memory(
                        keys.lock(unit.memory_id),
                        keys.memory(unit.memory_id),
                        [keys.applied(unit.memory_id, operation.mark) for operation in unit.waiting],
                        token=self._token,
                        ttl_ms=services.lease_ms,
                    )
                    for unit in units
                ),
            ],
        )
        self._spaces = registered_spaces(registry, services.settings)
        services.pipelines.keep(self._spaces)
        opened = []
        for unit, reply in zip(units, replies, strict=True):
            if reply is None:
                for operation in list(unit.waiting):
                    self._end(ItemOutcome(operation, busy=True), unit)
                continue
            *values, spaces = reply[0]
            unit.state = parse_state(unit.memory_id, values)
            unit.spaces = as_text(spaces)
            for operation, mark in zip(list(unit.waiting), reply[1], strict=True):
                applied = as_text(mark) or self._forgotten_effect(operation, unit.state)
                if applied:
                    # Its worker may have died before it saw that there are other spaces by now.
                    self._completion.note(unit.state, listed_spaces(unit.spaces), self._spaces)
                    self._end(ItemOutcome(operation, result=applied_result(operation, applied)), unit)
            if unit.waiting:
                opened.append(unit)
        self._read_queued(opened)
        return opened

    def _forgotten_effect(self, operation: Operation, state: MemoryState) -> str | None:
        """What an operation did whose applied mark has expired: the history knows."""
        oldest = time.time_ns() // 1_000 - self._services.settings.job_ttl * 1_000_000 + _MARK_MARGIN
        if not state.version or operation.submitted > oldest:
            return None
        return effect_of(self._services, operation)

    def _read_queued(self, units: list[_Unit]) -> None:
        """What waits for a person's decision, where one has come, or where something is to wait."""
        asked = [unit for unit in units if any(operation.op in ("resolve", "hold") for operation in unit.waiting)]
        if not asked:
            return
        pipeline = self._services.data.pipeline(transaction=False)
        for unit in asked:
            pipeline.hgetall(self._services.keys.conflict(unit.memory_id))
        for unit, waiting in zip(asked, pipeline.execute(), strict=True):
            unit.queued = {as_text(mark): read_json(document) for mark, document in waiting.items()}

    def _decide(self, units: list[_Unit]) -> None:
        for unit in units:
            assert unit.state is not None  # it was opened
            state, unit.changes, unit.idle = unit.state, [], []
            for operation in list(unit.waiting):
                try:
                    change = self._change(unit, state, operation)
                except NeedsMerge:
                    self._end(ItemOutcome(operation, handed_over=True), unit)
                except EmendoError as error:
                    unit.idle.append(ItemOutcome(operation, error=error))
                else:
                    if change is None:
                        unit.idle.append(ItemOutcome(operation, result=_nothing_done(state)))
                        continue
                    unit.changes.append(change)
                    state = change.after
            if not unit.changes:
                self._end_idle(unit)

    def _end_idle(self, unit: _Unit) -> None:
        """Ends what was refused, now that no change which it rests on can drop out any more."""
        for outcome in unit.idle:
            self._end(outcome, unit)

    def _change(self, unit: _Unit, state: MemoryState, operation: Operation) -> Change | None:
        """The decision; the chat model is asked where it must be, and where there is a merger to ask it."""
        while True:
            try:
                return apply_operation(
                    state,
                    operation,
                    snapshot=self._snapshot(unit, state, operation),
                    now=time.time_ns() // 1_000,
                    metadata_limit=self._services.settings.max_metadata_bytes,
                    queued=_queued(unit, operation),
                    merges=self._merges,
                )
            except NeedsMerge as question:
                if self._merger is None or self._merges is None:
                    raise
                self._merges.found[question.texts] = self._merger.merge(question.texts)

    def _snapshot(self, unit: _Unit, state: MemoryState, operation: Operation) -> Snapshot | None:
        """The earlier state an operation refers to: decided just now, or in the history."""
        version = operation.version if operation.op == "restore" else base_version(state, operation)
        if version is None:
            return None
        if not version:
            return snapshot_before(self._services, operation.memory_id, operation.submitted)
        decided = [change.after.snapshot for change in unit.changes if change.after.version == version]
        return decided[0] if decided else snapshot_at(self._services, operation.memory_id, version)

    def _embed(self, units: list[_Unit]) -> None:
        """Vectors for the texts that remain and are new; a memory whose text has none drops that operation.

        A space that is only being filled keeps nobody waiting: what it lacks is found again.
        """
        for unit in units:
            unit.vectors = []
        # Those that are waited for first: what they refuse need not be paid for in the others.
        for space in sorted(self._spaces, key=lambda space: space.state is not SpaceState.LIVE):
            lacking = [unit for unit in units if unit.changes and _needs_vector(unit, space)]
            if not lacking:
                continue
            found = self._vectors.find(space, [unit.changes[-1].after.memory for unit in lacking])
            for unit in lacking:
                answer = found[unit.changes[-1].after.memory]
                if not isinstance(answer, EmendoError):
                    unit.vectors.append((space, answer))
                elif space.state is SpaceState.LIVE:
                    self._end(ItemOutcome(_who_set_the_text(unit).operation, error=answer), unit)
                    unit.changes = []  # decided anew in the next round, without that operation

    def _drop_cancelled(self, units: list[_Unit]) -> None:
        """The last look before the commit at whether somebody cancelled one of the jobs."""
        job_ids = list({change.operation.job_id for unit in units for change in unit.changes})
        if not job_ids:
            return
        control, key = self._services.control, self._services.keys.cancelling
        if not control.exists(key):
            return
        marks = control.smismember(key, job_ids)
        self._drop(units, {job_id for job_id, marked in zip(job_ids, marks, strict=True) if marked})

    def _drop(self, units: list[_Unit], cancelled: AbstractSet[str]) -> None:
        """Ends what cancelled jobs still have to do."""
        for unit in units:
            dropped = [operation for operation in unit.waiting if operation.job_id in cancelled]
            for operation in dropped:
                self._end(ItemOutcome(operation, cancelled=True), unit)
            if dropped:
                unit.changes = []

    def _commit(self, units: list[_Unit]) -> None:
        if not units:
            return
        # Before the commit: after it nobody knows the texts any more.
        self._forget([unit.memory_id for unit in units if unit.changes[-1].after.erased])
        services, known = self._services, self._spaces
        commands = [
            commit_command(services, unit.changes, unit.vectors, self._token, spaces=Spaces(unit.spaces, known))
            for unit in units
        ]
        *replies, registry = scripts.run(services.data, [*commands, ("HGETALL", services.keys.spaces)])
        self._spaces = registered_spaces(registry, services.settings)
        for unit, reply in zip(units, replies, strict=True):
            if as_text(reply) != "committed":
                continue  # somebody was faster: the operations wait for the next round
            self._committed.add(unit.memory_id)
            if self._spaces != known:  # of what was added the vectors were not written, of what was left they were
                listed = listed_after(unit.changes, unit.vectors, Spaces(unit.spaces, known))
                self._completion.note(unit.changes[-1].after, listed, self._spaces)
            for change in unit.changes:
                self._end(ItemOutcome(change.operation, result=change.result()), unit)
            self._end_idle(unit)

    def _forget(self, memory_ids: Sequence[str]) -> None:
        """Drops the cached vectors of every text the memories ever had, of every space."""
        texts = [text for memory_id in memory_ids for text in texts_of(self._services, memory_id)]
        if texts:
            for space in self._spaces:
                self._services.pipeline_of(space).forget(texts)

    def _put_off(self, memory_id: str, error: EmendoError) -> None:
        for operation in self._operations:
            outcome = self._done[id(operation)]
            if operation.memory_id == memory_id and outcome.is_change:
                self._done[id(operation)] = ItemOutcome(operation, result=outcome.result, error=error)

    def _end(self, outcome: ItemOutcome, unit: _Unit | None = None) -> None:
        self._done[id(outcome.operation)] = outcome
        if unit is not None:
            unit.waiting.remove(outcome.operation)


def _group(operations: Sequence[Operation]) -> list[_Unit]:
    units: dict[str, _Unit] = {}
    for operation in sorted(operations, key=lambda operation: operation.submitted):
        units.setdefault(operation.memory_id, _Unit(operation.memory_id, [])).waiting.append(operation)
    return list(units.values())


def _queued(unit: _Unit, operation: Operation) -> dict[str, Any] | None:
    """What a resolve is about, or the delete a hold would repeat, as the changes decided just now leave it."""
    waiting = {**unit.queued, **{change.operation.mark: change.conflict for change in unit.changes if change.conflict}}
    for change in unit.changes:
        waiting.pop(change.resolved, None)
    if operation.op == "hold":
        return next(filter(is_delete, waiting.values()), None)
    return waiting.get(operation.conflict or "")


def _nothing_done(state: MemoryState) -> dict[str, Any]:
    """The result of an operation that found nothing to do: no change, no history entry."""
    return {"memory_id": state.id, "event": None, "version": state.version, "error": None}


def _needs_vector(unit: _Unit, space: SpaceRecord) -> bool:
    """False for metadata-only and same-text changes: they must not pay for an embedding."""
    first, last = unit.changes[0], unit.changes[-1]
    if last.after.erased or not space.is_written:
        return False
    if last.after.hash != first.before.hash:
        return True
    return not last.after.is_deleted and space.name not in listed_spaces(unit.spaces)


def _who_set_the_text(unit: _Unit) -> Change:
    remaining = unit.changes[-1].after.hash
    setters = [change for change in unit.changes if change.after.hash == remaining != change.before.hash]
    return setters[-1] if setters else unit.changes[-1]
