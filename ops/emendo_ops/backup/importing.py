"""Puts the memories of a file into a store that is in use; what the store has newer stays."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from emendo_config.errors import ConfigurationError
from emendo_config.spaces.bootstrap import ensure_index
from emendo_config.spaces.registry import SpaceRecord, SpaceState, read_registry, registered_spaces
from emendo_config.store import scripts
from emendo_config.store.formats import listed_spaces
from emendo_config.store.memory_fields import COMMIT_FIELD, SPACE_FIELD
from emendo_config.store.pipeline import as_text
from emendo_ops.backup.memory import FileMemory, Refused
from emendo_workers.memories.importing import PAGE, import_command, stage_command
from emendo_workers.store import Store

# Memories that are looked at in one round trip.
AT_ONCE = 20
# Rounds for a memory that changes while it is imported.
_ROUNDS = 5
_SEEN = ("project", "version", COMMIT_FIELD, "erased", SPACE_FIELD)


class Verdict(StrEnum):
    """The fate of a memory of the file."""

    CREATED = "created"  # the store did not have it
    UPDATED = "updated"  # the store had an earlier version of it
    SAME = "same"
    NEWER_KEPT = "newer_kept"  # the store has a later version, or has erased it
    OTHER_KEPT = "other_kept"  # the store has another change of the same version, so its history is another one
    ERASED = "erased"  # the file says that it was erased, and the store still has it
    REFUSED = "refused"


@dataclass
class ImportReport:
    """The result of an import.

    Attributes:
        counts: memories by what became of them.
        refused: parts of the file that are not in the store.
        kept: lines of memories whose history in the store is another one.
        erased: project and id of memories that are to be erased.
        lacking: memories without a vector of a live space.
        newest: the newest submission time of all (microseconds).
    """

    counts: dict[Verdict, int] = field(default_factory=lambda: dict.fromkeys(Verdict, 0))
    refused: list[Refused] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    erased: list[tuple[str, str]] = field(default_factory=list)
    lacking: int = 0
    newest: int = 0


@dataclass(frozen=True, slots=True)
class _Seen:
    """A memory as the store has it; version 0 for none."""

    project: str
    version: int
    commit: str
    erased: bool
    listed: frozenset[str]

    @classmethod
    def read(cls, values: Sequence[Any]) -> _Seen:
        project, version, commit, erased, listed = (as_text(value) for value in values)
        return cls(project, int(version or 0), commit, erased == "1", listed_spaces(listed))


class Import:
    """One import.

    Args:
        store: the worker's: its Redis user may write memories.
        spaces: those of the file, by name.
    """

    def __init__(self, store: Store, spaces: Mapping[str, SpaceRecord]) -> None:
        ensure_index(store.data, store.settings)
        self._begun = _written(store)
        if SpaceState.FILLING in self._begun.values():
            raise ConfigurationError(
                "a re-embedding is under way", suggestion="import after its end: emendo reembed status shows it"
            )
        self.report = ImportReport()
        self._store = store
        self._spaces = spaces
        self._token = secrets.token_hex(8)

    def take(self, memories: Sequence[FileMemory]) -> None:
        """Imports some memories; each is written in one step, or stays as it is.

        Raises:
            RedisError: Redis failed midway. A second import goes on.
        """
        waiting = list(memories)
        for memory in waiting:
            self.report.newest = max(self.report.newest, memory.newest_write)
        for _ in range(_ROUNDS):
            waiting = self._round(waiting)
            if not waiting:
                return
        self.report.refused += [Refused(memory.line, "the memory keeps changing") for memory in waiting]
        self.report.counts[Verdict.REFUSED] += len(waiting)

    def finish(self) -> None:
        """Makes later submissions newer than all that was imported; a space that was opened meanwhile may lack some."""
        store = self._store
        if _written(store) != self._begun:
            self.report.lacking = max(self.report.lacking, 1)
        if self.report.newest:
            scripts.run(store.control, [scripts.raise_clock(clock=store.keys.clock, newest=self.report.newest)])

    def refuse(self, refused: Refused) -> None:
        """Takes note of a part of the file that cannot be read."""
        self.report.refused.append(refused)
        self.report.counts[Verdict.REFUSED] += 1

    def _round(self, memories: Sequence[FileMemory]) -> list[FileMemory]:
        """Looks at the memories, and writes those that are to be; the others that changed meanwhile."""
        store, keys = self._store, self._store.keys
        registry, *replies = scripts.run(
            store.data, [("HGETALL", keys.spaces), *(("HMGET", keys.memory(each.id), *_SEEN) for each in memories)]
        )
        spaces = registered_spaces(registry, store.settings)
        again, writes, commands = [], list[tuple[FileMemory, Verdict, frozenset[str]]](), []
        taken: set[str] = set()
        for memory, values in zip(memories, replies, strict=True):
            if memory.id in taken:  # it is in the file twice
                again.append(memory)
                continue
            seen = _Seen.read(values)
            verdict = _verdict(memory, seen)
            if verdict not in (Verdict.CREATED, Verdict.UPDATED):
                self._note(memory, verdict, seen.listed, spaces)
                continue
            taken.add(memory.id)
            vectors = self._vectors(memory, spaces)
            commands.append(
                import_command(
                    store,
                    memory.state,
                    memory.history,
                    vectors,
                    based_on=(seen.version, seen.commit),
                    token=self._token,
                    staged=self._stage(memory),
                    spaces=spaces,
                    now=store.data_time(),
                )
            )
            writes.append((memory, verdict, frozenset(space.name for space, _ in vectors)))
        for (memory, verdict, listed), reply in zip(writes, scripts.run(store.data, commands), strict=True):
            if scripts.import_memory.reply(reply) == "imported":
                self._note(memory, verdict, listed, spaces)
            else:
                again.append(memory)
        return again

    def _stage(self, memory: FileMemory) -> int:
        """Puts the beginning of a long history aside; how many entries."""
        staged = 0
        while len(memory.history) - staged > PAGE:
            page = memory.history[staged : staged + PAGE]
            scripts.run(self._store.data, [stage_command(self._store, memory.id, self._token, staged, page)])
            staged += PAGE
        return staged

    def _note(
        self, memory: FileMemory, verdict: Verdict, listed: frozenset[str], spaces: Iterable[SpaceRecord]
    ) -> None:
        report = self.report
        report.counts[verdict] += 1
        if verdict is Verdict.REFUSED:
            report.refused.append(Refused(memory.line, "a memory of another project has its id"))
        elif verdict is Verdict.OTHER_KEPT:
            report.kept.append(memory.line)
        elif verdict is Verdict.ERASED:
            report.erased.append((memory.project, memory.id))
        elif verdict is not Verdict.NEWER_KEPT and memory.state.hash:
            report.lacking += any(each.state is SpaceState.LIVE and each.name not in listed for each in spaces)

    def _vectors(self, memory: FileMemory, spaces: Sequence[SpaceRecord]) -> list[tuple[SpaceRecord, bytes]]:
        """The file's vectors that are of one of the store's spaces; an older generation has other vectors."""
        found = []
        for space in spaces if memory.state.hash else ():
            told = self._spaces.get(space.name)
            vector = memory.vectors.get(space.name)
            is_same = told is not None and (told.space, told.datatype) == (space.space, space.datatype)
            if vector is not None and is_same and space.is_written and len(vector) == space.vector_bytes:
                found.append((space, vector))
        return found


def _written(store: Store) -> dict[str, SpaceState]:
    return {each.name: each.state for each in read_registry(store.data, store.keys) if each.is_written}


def _verdict(memory: FileMemory, seen: _Seen) -> Verdict:  # noqa: PLR0911  # one for each case
    version, commit, is_erased = memory.state.version, memory.state.commit_id, memory.state.erased
    if not seen.version:
        return Verdict.CREATED
    if seen.project != memory.project:
        return Verdict.REFUSED
    if is_erased and seen.erased:
        return Verdict.SAME if version == seen.version else Verdict.NEWER_KEPT
    if seen.erased or seen.version > version:
        return Verdict.NEWER_KEPT
    if is_erased:
        return Verdict.ERASED
    if seen.version == version:
        return Verdict.SAME if seen.commit == commit else Verdict.OTHER_KEPT
    # The history went on from the store's version. A trimmed one does not say.
    known = memory.commit_at(seen.version)
    return Verdict.UPDATED if known is None or known == seen.commit else Verdict.OTHER_KEPT
