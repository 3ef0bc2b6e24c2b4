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
from dataclasses import dataclass, field

from emendo_client.errors import EmendoError
from emendo_config.redis_io import as_text
from emendo_workers import scripts
from emendo_workers.commits import commit_command
from emendo_workers.decide import Change, Snapshot, apply_operation
from emendo_workers.history import replayed_result, snapshot_at
from emendo_workers.operations import SPACE_FIELD, STATE_FIELDS, MemoryState, Operation, parse_state
from emendo_workers.outcomes import ItemOutcome
from emendo_workers.services import Services

logger = logging.getLogger(__name__)

# Rounds a memory gets when others keep changing it, before its jobs are put aside for a moment.
MAX_ROUNDS = 10


@dataclass(slots=True)
class _Unit:
    """One memory and the batch's operations on it, in the order of submission."""

    memory_id: str
    waiting: list[Operation]
    state: MemoryState | None = None
    has_vector: bool = False
    changes: list[Change] = field(default_factory=list)
    refused: list[ItemOutcome] = field(default_factory=list)


def apply_operations(operations: Sequence[Operation], services: Services) -> list[ItemOutcome]:
    """Carries the operations out; an outcome for each, in their order.

    Raises:
        RedisError: Redis failed midway; what was committed stays, and a further attempt finds it.
    """
    return _Batch(operations, services).run()


class _Batch:
    def __init__(self, operations: Sequence[Operation], services: Services) -> None:
        self._operations = operations
        self._services = services
        self._token = secrets.token_hex(16)
        self._done: dict[int, ItemOutcome] = {}
        self._vectors: dict[str, bytes | EmendoError] = {}
        self._locked: set[str] = set()

    def run(self) -> list[ItemOutcome]:
        units = _group(self._operations)
        locks = [self._services.keys.lock(unit.memory_id) for unit in units]
        with self._services.keeper.holding(locks, self._token):
            try:
                for _ in range(MAX_ROUNDS):
                    units = self._round(units)
                    if not units:
                        break
                for operation in itertools.chain.from_iterable(unit.waiting for unit in units):
                    self._end(ItemOutcome(operation, busy=True))
            finally:
                # Commits release their own lock; what is left are memories that were only looked at.
                scripts.run(self._services.data, [scripts.release(lock, self._token) for lock in sorted(self._locked)])
        return [self._done[id(operation)] for operation in self._operations]

    def _round(self, units: list[_Unit]) -> list[_Unit]:
        """One pass over the memories that still have operations waiting; returns those that need another."""
        opened = self._open(units)
        self._decide(opened)
        self._embed(opened)
        self._drop_cancelled(opened)
        self._commit([unit for unit in opened if unit.changes])
        return [unit for unit in units if unit.waiting]

    def _open(self, units: list[_Unit]) -> list[_Unit]:
        keys, services = self._services.keys, self._services
        fields = (*STATE_FIELDS, SPACE_FIELD)
        self._locked.update(keys.lock(unit.memory_id) for unit in units)
        replies = scripts.run(
            services.data,
            [
                scripts.open_memory(
                    keys.lock(unit.memory_id),
                    keys.memory(unit.memory_id),
                    [keys.applied(unit.memory_id, operation.job_id) for operation in unit.waiting],
                    token=self._token,
                    ttl_ms=services.lease_ms,
                    fields=fields,
                )
                for unit in units
            ],
        )
        opened = []
        for unit, reply in zip(units, replies, strict=True):
            if reply is None:
                for operation in list(unit.waiting):
                    self._end(ItemOutcome(operation, busy=True), unit)
                continue
            *values, space = reply[0]
            unit.state = parse_state(unit.memory_id, values)
            unit.has_vector = as_text(space) == services.settings.space.name
            for operation, applied in zip(list(unit.waiting), reply[1], strict=True):
                if applied is not None:
                    result = replayed_result(services, unit.memory_id, as_text(applied))
                    self._end(ItemOutcome(operation, result=result), unit)
            if unit.waiting:
                opened.append(unit)
        return opened

    def _decide(self, units: list[_Unit]) -> None:
        now = time.time_ns() // 1_000
        for unit in units:
            assert unit.state is not None  # it was opened
            state, unit.changes, unit.refused = unit.state, [], []
            for operation in list(unit.waiting):
                try:
                    change = apply_operation(
                        state,
                        operation,
                        snapshot=self._snapshot(operation, unit),
                        now=now,
                        metadata_limit=self._services.settings.max_metadata_bytes,
                    )
                except EmendoError as error:
                    unit.refused.append(ItemOutcome(operation, error=error))
                else:
                    unit.changes.append(change)
                    state = change.after
            if not unit.changes:
                self._refuse(unit)

    def _refuse(self, unit: _Unit) -> None:
        """Ends the operations that what is stored now refuses; not those that changes refuse which may yet drop out."""
        for outcome in unit.refused:
            self._end(outcome, unit)

    def _snapshot(self, operation: Operation, unit: _Unit) -> Snapshot | None:
        if operation.op != "restore" or operation.version is None:
            return None
        for change in unit.changes:  # a version that this very batch makes
            if change.after.version == operation.version:
                return Snapshot(change.after.memory, change.after.metadata)
        return snapshot_at(self._services, operation.memory_id, operation.version)

    def _embed(self, units: list[_Unit]) -> None:
        """Vectors for the texts that remain and are new; a memory whose text has none drops that operation."""
        wanted = [unit.changes[-1].after.memory for unit in units if unit.changes and _needs_vector(unit)]
        missing = [text for text in wanted if text not in self._vectors]
        if missing:
            self._vectors.update(self._services.embedding.embed(missing))
        for unit in units:
            if not unit.changes or not _needs_vector(unit):
                continue
            error = self._vectors[unit.changes[-1].after.memory]
            if isinstance(error, EmendoError):
                self._end(ItemOutcome(_who_set_the_text(unit).operation, error=error), unit)
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
        cancelled = {job_id for job_id, marked in zip(job_ids, marks, strict=True) if marked}
        for unit in units:
            dropped = [operation for operation in unit.waiting if operation.job_id in cancelled]
            for operation in dropped:
                self._end(ItemOutcome(operation, cancelled=True), unit)
            if dropped:
                unit.changes = []

    def _commit(self, units: list[_Unit]) -> None:
        commands = []
        for unit in units:
            text = unit.changes[-1].after.memory
            vector = self._vectors.get(text) if _needs_vector(unit) else None
            assert not isinstance(vector, EmendoError)  # such memories have no changes left
            commands.append(commit_command(self._services, unit.changes, vector, self._token))
        for unit, reply in zip(units, scripts.run(self._services.data, commands), strict=True):
            if as_text(reply) != "committed":
                continue  # somebody was faster: the operations wait for the next round
            self._locked.discard(self._services.keys.lock(unit.memory_id))
            for change in unit.changes:
                self._end(ItemOutcome(change.operation, result=change.result()), unit)
            self._refuse(unit)

    def _end(self, outcome: ItemOutcome, unit: _Unit | None = None) -> None:
        self._done[id(outcome.operation)] = outcome
        if unit is not None:
            unit.waiting.remove(outcome.operation)


def _group(operations: Sequence[Operation]) -> list[_Unit]:
    units: dict[str, _Unit] = {}
    for operation in sorted(operations, key=lambda operation: operation.submitted):
        units.setdefault(operation.memory_id, _Unit(operation.memory_id, [])).waiting.append(operation)
    return list(units.values())


def _needs_vector(unit: _Unit) -> bool:
    """False for metadata-only and same-text changes: they must not pay for an embedding."""
    first, last = unit.changes[0], unit.changes[-1]
    return last.after.hash != first.before.hash or (not unit.has_vector and not last.after.is_deleted)


def _who_set_the_text(unit: _Unit) -> Change:
    remaining = unit.changes[-1].after.hash
    setters = [change for change in unit.changes if change.after.hash == remaining != change.before.hash]
    return setters[-1] if setters else unit.changes[-1]
