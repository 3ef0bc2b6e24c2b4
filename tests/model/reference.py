"""The store as docs/design.md describes it: dictionaries in memory, one thing after another, nothing to embed.

A memory is the list of everything that was ever assigned to its fields; a field has the value that the newest
submission assigned. That one sentence is the conflict rule, so what arrives late needs no rule of its own.
Nothing here is taken from the workers: where the two disagree, one of them is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

# Codes of the errors a memory's state is the reason for; a provider's are not for this model to foresee.
GONE, MISMATCH, SUPERSEDED, NO_VERSION = "MEMORY_NOT_FOUND", "VERSION_MISMATCH", "SUPERSEDED", "NO_SUCH_VERSION"
CANCELLED = "CANCELLED"
REFUSALS = frozenset({GONE, MISMATCH, SUPERSEDED, NO_VERSION})
# No replay changes these, so they are no dead letters.
NOTHING_TO_REPLAY = REFUSALS | {CANCELLED}

TEXT = "text"
MARK = "deleted"


@dataclass(frozen=True)
class Ask:
    """One change to one memory, as a job asks for it; `op` is add, update, delete or restore."""

    op: str
    memory_id: str
    text: str | None = None
    metadata: Mapping[str, Any] | None = None
    scope: Mapping[str, str] = field(default_factory=dict)
    actor_id: str | None = None
    role: str | None = None
    expected_version: int | None = None
    on_conflict: str = "last_write_wins"
    version: int | None = None

    @property
    def sets_text(self) -> bool:
        """True when a provider may have to embed something for it."""
        return self.text is not None or self.version is not None

    def as_request(self) -> Any:
        """The identity of a request: equal for two submissions of it; a new memory's id is no part of it."""
        request = {**vars(self), "scope": dict(self.scope), "memory_id": "" if self.op == "add" else self.memory_id}
        return json.dumps(request, sort_keys=True)


@dataclass(frozen=True)
class Entry:
    """One recorded change."""

    version: int
    event: str
    old_memory: str | None
    new_memory: str | None
    old_metadata: dict[str, Any] | None
    new_metadata: dict[str, Any] | None
    is_deleted: bool
    actor_id: str | None
    role: str | None
    job_id: str
    # Texts in the job's result.
    reads: str | None
    previously: str | None


@dataclass(frozen=True)
class Refusal:
    """Nothing was changed and nothing recorded."""

    code: str


class ReferenceMemory:
    """One memory: who owns it, all assignments to its fields, its history."""

    def __init__(self, ask: Ask, project: str, submitted: datetime) -> None:
        self.id = ask.memory_id
        self.project = project
        self.scope = dict(ask.scope)
        self.actor_id = ask.actor_id
        self.role = ask.role
        self.created = self.updated = submitted
        self.history: list[Entry] = []
        self._assigned: list[tuple[datetime, str, Any]] = []
        self._assign(submitted, ask.text, dict(ask.metadata or {}), deleted=False)

    # The present state.

    @property
    def version(self) -> int:
        return len(self.history)

    @property
    def text(self) -> str:
        return self._newest(TEXT)[1]

    @property
    def is_deleted(self) -> bool:
        return self._newest(MARK)[1]

    @property
    def metadata(self) -> dict[str, Any]:
        values = {key: self._newest(key)[1] for key in self._keys()}
        return {key[1:]: value for key, value in values.items() if value is not None}

    # Changes.

    def refusal(self, ask: Ask, submitted: datetime) -> Refusal | None:
        """Why the memory cannot be changed so, or None."""
        if self.is_deleted and ask.op == "update" and submitted > self._newest(MARK)[0]:
            return Refusal(GONE)
        if ask.expected_version not in (None, self.version):
            return Refusal(MISMATCH)
        if ask.op == "restore" and ask.version is not None and ask.version > self.version:
            return Refusal(NO_VERSION)
        if ask.on_conflict == "reject":
            asked = [TEXT] * (ask.text is not None) + [f".{key}" for key in ask.metadata or {}]
            if self.is_deleted or any(self._newest(name)[0] > submitted for name in asked):
                return Refusal(SUPERSEDED)
        return None

    def change(self, ask: Ask, submitted: datetime, job_id: str) -> Entry:
        """Records the change, whatever of it still applies."""
        text, metadata, existed = self.text, self.metadata, bool(self.history)
        if ask.op == "add":
            event, applies = "ADD", True
        elif ask.op == "update":
            event, applies = "UPDATE", self._assign(submitted, ask.text, dict(ask.metadata or {}))
        elif ask.op == "delete":
            event, applies = "DELETE", self._assign(submitted, deleted=True)
        elif ask.version is None:
            event, applies = "RESTORE", self._assign(submitted, deleted=False)
        else:
            event, applies = "RESTORE", self._return_to(ask.version, submitted)
        if applies:
            self.updated = max(self.updated, submitted)
        gone = event == "DELETE" and applies
        entry = Entry(
            version=self.version + 1,
            event=event if applies else "SUPERSEDED",
            old_memory=text if existed else None,
            new_memory=None if gone else self.text,
            old_metadata=metadata if existed else None,
            new_metadata=None if gone else self.metadata,
            is_deleted=self.is_deleted,
            actor_id=ask.actor_id,
            role=ask.role,
            job_id=job_id,
            reads=None if self.is_deleted else self.text,
            previously=text if existed else None,
        )
        self.history.append(entry)
        return entry

    def _return_to(self, version: int, submitted: datetime) -> bool:
        """Assigns the text and every metadata key of a version; a key it does not have is assigned None."""
        then = self.history[version - 1]
        text = then.old_memory if then.new_memory is None else then.new_memory
        metadata = then.old_metadata if then.new_metadata is None else then.new_metadata
        patch = {**dict.fromkeys(self.metadata), **(metadata or {})}
        self._assigned.append((submitted, "*", None))  # also the keys nobody has named yet
        return self._assign(submitted, text, patch, deleted=False)

    def _assign(
        self, at: datetime, text: str | None = None, metadata: Mapping[str, Any] | None = None, *, deleted: Any = None
    ) -> bool:
        """Assigns the given fields; True when one of them is the newest of its field."""
        made = [] if text is None else [(at, TEXT, text)]
        made += [(at, f".{key}", value) for key, value in (metadata or {}).items()]
        made += [] if deleted is None else [(at, MARK, deleted)]
        self._assigned += made
        return any(self._newest(name)[0] == at for _, name, _ in made)

    def _newest(self, name: str) -> tuple[datetime, Any]:
        wild = "*" if name.startswith(".") else name
        named = [(at, each == name, value) for at, each, value in self._assigned if each in (name, wild)]
        at, _, value = max(named, key=lambda each: each[:2], default=(self.created, False, None))
        return at, value

    def _keys(self) -> set[str]:
        return {name for _, name, _ in self._assigned if name.startswith(".")}


@dataclass
class ReferenceJob:
    """One accepted job. `results` has an Entry, a Refusal or None (not decided yet) for each ask."""

    id: str
    project: str
    kind: str
    asks: list[Ask]
    submitted: datetime
    results: list[Entry | Refusal | None] = field(default_factory=list)
    recorded: bool = False  # its outcome is; what it did may be done before that
    cancelled: bool = False
    discarded: bool = False

    def __post_init__(self) -> None:
        self.results = [None] * len(self.asks)

    @property
    def refusals(self) -> list[Refusal]:
        return [result for result in self.results if isinstance(result, Refusal)]

    @property
    def is_dead_letter(self) -> bool:
        """True when something of it may be replayed: all that failed, or a part."""
        replayable = any(refusal.code not in NOTHING_TO_REPLAY for refusal in self.refusals)
        return self.recorded and replayable and not self.cancelled and not self.discarded

    @property
    def status(self) -> str:
        """The final state, or `waiting`."""
        if self.cancelled:
            return "cancelled"
        if not self.recorded:
            return "waiting"
        refused = len(self.refusals)
        return ("succeeded", "partially_succeeded")[bool(refused)] if refused < len(self.results) else "failed"


class ReferenceSpaces:
    """Which embedding space searches answer from, and which others there are; each by its dimensions."""

    def __init__(self, active: int) -> None:
        self.active = active
        self.coming: int | None = None  # being filled; nobody searches it
        self.kept: int | None = None  # searched before, and still as right as the active one
        self.are_ending = False  # somebody said which of them is to go

    @property
    def are_changing(self) -> bool:
        return self.coming is not None or self.kept is not None or self.are_ending

    def begin(self, dimensions: int) -> None:
        self.coming = dimensions

    def switch(self) -> None:
        assert self.coming is not None
        self.kept, self.active, self.coming = self.active, self.coming, None

    def go_back(self) -> None:
        assert self.kept is not None
        self.active, self.kept = self.kept, None

    def settle(self) -> None:
        """Only the active one is left."""
        self.coming = self.kept = None
        self.are_ending = False


class ReferenceStore:
    """All projects: their memories, jobs, rules and idempotency keys."""

    def __init__(self) -> None:
        self.memories: dict[str, ReferenceMemory] = {}
        self.jobs: dict[str, ReferenceJob] = {}
        self.rules: dict[str, tuple[str, list[str]]] = {}
        self._claimed: dict[tuple[str, str], tuple[Any, str]] = {}

    # Jobs.

    def first_job(self, project: str, key: str | None, request: Any) -> tuple[str, bool] | None:
        """The job first accepted under an idempotency key, and whether it is this very request."""
        if key is None or (project, key) not in self._claimed:
            return None
        first, job_id = self._claimed[project, key]
        return job_id, first == request

    def accept(self, job: ReferenceJob, key: str | None = None, request: Any = None) -> None:
        """A job nobody has seen before."""
        self.jobs[job.id] = job
        if key is not None:
            self._claimed[job.project, key] = request, job.id

    def decide(self, job: ReferenceJob, item: int) -> Entry | Refusal:
        """Works one of the job's asks, now."""
        ask = job.asks[item]
        job.results[item] = decided = self._decide(job, ask)
        return decided

    def _decide(self, job: ReferenceJob, ask: Ask) -> Entry | Refusal:
        memory = self.memories.get(ask.memory_id)
        if ask.op == "add":
            memory = self.memories[ask.memory_id] = ReferenceMemory(ask, job.project, job.submitted)
        elif memory is None or memory.project != job.project:
            return Refusal(GONE)
        refusal = memory.refusal(ask, job.submitted)
        return refusal or memory.change(ask, job.submitted, job.id)

    def replay(self, job: ReferenceJob) -> None:
        """A dead letter goes back to work: under its own id and its old submission time."""
        job.recorded = False
        job.results = [
            None if isinstance(result, Refusal) and result.code not in NOTHING_TO_REPLAY else result
            for result in job.results
        ]

    def set_rules(self, project: str, instructions: str | None, categories: list[str] | None) -> None:
        """A rule that is None stays as it is."""
        had = self.rules.get(project, ("", []))
        self.rules[project] = (
            had[0] if instructions is None else instructions,
            had[1] if categories is None else categories,
        )

    def dead_letters(self, project: str) -> set[str]:
        return {job.id for job in self.jobs.values() if job.project == project and job.is_dead_letter}

    # Reads.

    def find(
        self, project: str, scope: Mapping[str, str] | None = None, filters: Mapping[str, Any] | None = None
    ) -> dict[str, ReferenceMemory]:
        """The memories a read of this project, scope and filters may give, and must give all of."""
        wanted = [*(scope or {}).items(), *_conditions(filters or {})]
        return {
            memory.id: memory
            for memory in self.memories.values()
            if memory.project == project and not memory.is_deleted and all(_meets(memory, *each) for each in wanted)
        }


def _conditions(filters: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, wanted in filters.items():
        if name == "metadata":
            yield from ((f".{key}", value) for key, value in wanted.items())
        else:
            yield name, wanted


def _meets(memory: ReferenceMemory, name: str, wanted: Any) -> bool:
    alternatives = wanted if isinstance(wanted, list) else [wanted]
    if name.startswith("."):
        value = memory.metadata.get(name[1:])
        values = list(_members(value))
        if value is None and None in alternatives:
            return True
    else:
        values = [{**memory.scope, "actor_id": memory.actor_id, "role": memory.role}.get(name)]
    # 1 is 1.0, and neither is True.
    return any(
        isinstance(value, bool) is isinstance(each, bool) and value == each
        for value in values
        if not isinstance(value, dict)
        for each in alternatives
    )


def _members(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for each in value:
            yield from _members(each)
    else:
        yield value
