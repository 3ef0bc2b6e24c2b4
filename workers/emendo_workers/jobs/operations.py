"""The operations of a job: one class for each kind, with the fields that kind has in the payload.

Attributes have the names of the payload's fields, so that `parse_operation` needs no mapping.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from emendo_client.errors import EmendoError
from emendo_config.error_codes import ErrorCode
from emendo_config.store.formats import applied_id, conflict_id

Document = dict[str, Any]


# Not frozen, although nothing changes one after it is made: a frozen one takes five times as long to make, and every
# job makes one.
@dataclass(slots=True)
class Operation:
    """The common base of all operations.

    Attributes:
        job_id: the whole job's; the history records it.
        submitted: the time of acceptance, in microseconds of the control Redis's clock; unique.
        item: the place in a batch job or in a plan; in a chunk's plan `<chunk>.<n>`; None otherwise.
        strong: the caller waits until the commit is as durable as the settings ask for.
    """

    job_id: str
    project: str
    submitted: int
    memory_id: str
    item: int | str | None = None
    strong: bool = False

    @property
    def applied_id(self) -> str:
        """Identifies the operation's one effect on its memory; its applied key and its conflict's id end in it."""
        return applied_id(self.job_id, self.item)

    @property
    def conflict_id(self) -> str:
        """The id of the conflict this operation leaves for a person, if it does."""
        return conflict_id(self.memory_id, self.applied_id)


@dataclass(slots=True, kw_only=True)
class Authored(Operation):
    """A change that somebody asks for, with the version they expect.

    Attributes:
        expected_commit: of a plan, the commit that made that version; None when it is not known.
    """

    actor_id: str | None = None
    role: str | None = None
    expected_version: int | None = None
    expected_commit: str | None = None


@dataclass(slots=True, kw_only=True)
class Plannable(Authored):
    """A change that a client may ask for, or a plan that inference makes of a conversation.

    Attributes:
        user_id, agent_id, run_id, metadata, expires_at: of the memory to add, or of the conversation.
        reason: why, in the chat model's words.
        source: the message that caused it.
        prompt: the version of the prompt.
        decision: the fact's effect, an `inference.types.Action`; None when no plan made the operation.
        fallback: why the decision is not the chat model's.
        fact: the fact's text, when it differs from `text`.
        redecided: how often the fact was decided again.
        loses: it drops most of the memory's text, so it counts for the limit of one job.
    """

    user_id: str | None = None
    agent_id: str | None = None
    run_id: str | None = None
    metadata: Document | None = None
    expires_at: str | None = None
    reason: str | None = None
    source: str | None = None
    prompt: str | None = None
    decision: str | None = None
    fallback: str | None = None
    fact: str | None = None
    redecided: int = 0
    loses: bool = False


@dataclass(slots=True, kw_only=True)
class Add(Plannable):
    """Makes a memory."""

    text: str | None = None


@dataclass(slots=True, kw_only=True)
class Update(Plannable):
    """Sets the text, metadata keys, or both; a key whose value is None is removed."""

    text: str | None = None
    on_conflict: str = "last_write_wins"


@dataclass(slots=True, kw_only=True)
class Delete(Plannable):
    """Hides a memory.

    Attributes:
        hard: erases it: nothing of the content stays.
        deleted_before: only if the memory was deleted or had expired before this time (microseconds).
    """

    hard: bool = False
    deleted_before: int | None = None


@dataclass(slots=True, kw_only=True)
class PendingDelete(Plannable):
    """A delete that waits for a person's decision (`hold` in the payload)."""


@dataclass(slots=True, kw_only=True)
class PendingUpdate(Plannable):
    """An update that waits for a person's decision (`hold_update` in the payload)."""

    text: str | None = None


@dataclass(slots=True, kw_only=True)
class Noop(Plannable):
    """A fact that the memory states already: changes nothing (`none` in the payload)."""


@dataclass(slots=True, kw_only=True)
class Restore(Authored):
    """Brings a deleted memory back, or any memory back to what it was at `version`."""

    version: int | None = None


@dataclass(slots=True, kw_only=True)
class Resolve(Authored):
    """A person's decision on a submission that waits.

    Attributes:
        conflict: the submission's `applied_id`.
        choice: ours, theirs or merged.
        text, metadata: what the memory is to state, when merged.
    """

    conflict: str
    choice: str
    text: str | None = None
    metadata: Document | None = None

    @property
    def resolved_id(self) -> str:
        """The id of the conflict it is about."""
        return conflict_id(self.memory_id, self.conflict)


@dataclass(slots=True, kw_only=True)
class Expire(Operation):
    """Marks a memory as deleted, if its time is over."""


@dataclass(slots=True, kw_only=True)
class Infer(Operation):
    """A conversation, to be replaced by a plan of other operations.

    Attributes:
        dry_run: the plan is reported and not carried out.
        facts: those found in the conversation, once they are stored: `{text, source[, category]}`.
    """

    messages: list[dict[str, str]]
    user_id: str | None = None
    agent_id: str | None = None
    run_id: str | None = None
    metadata: Document | None = None
    expires_at: str | None = None
    dry_run: bool = False
    facts: list[Document] | None = None


@dataclass(slots=True, kw_only=True)
class Invalid(Operation):
    """A batch item that the client refused, or an operation this worker cannot read; it fails alone.

    Attributes:
        error: as `EmendoError.to_dict` gives it.
    """

    error: Document


@dataclass(slots=True, kw_only=True)
class Embed(Operation):
    """Gives a memory its vector in an embedding space, as part of a re-embedding.

    Attributes:
        space: the space's name.
        `anew`: write the vector even if the memory has one.
    """

    space: str
    anew: bool = False


@dataclass(slots=True, kw_only=True)
class Migrate(Operation):
    """Starts or ends a re-embedding; `exchanges/reembedding/control.py` describes the fields."""

    goal: str
    migration: str = ""
    wanted: Document | None = None
    filters: Document | None = None
    allow_missing: bool = False


@dataclass(slots=True, kw_only=True)
class EraseUser(Operation):
    """Erases all that a project holds of one user, in steps; the fields after the first are how far it is.

    Attributes:
        after: the records of jobs up to this submission time have been looked at (microseconds).
        watched: ids of records that may still be worked with the user's content.
        unfinished: ids of memories whose erasure is not whole yet.
        failed: ids of memories that could not be erased.
        counts: what was erased, by kind.
    """

    user_id: str
    after: int = 0
    watched: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


# Operations that know the scope they are about.
Scoped = Infer | Plannable

# The fields that say whose a memory is; an absent one says that it is nobody's there.
OWNER = ("user_id", "agent_id", "run_id")


def owner_of(holder: Any) -> tuple[str, ...]:
    """The owner: the values of OWNER, empty where there is none."""
    return tuple(getattr(holder, name, None) or "" for name in OWNER)


# Each kind by the name it has in the payload.
OPERATIONS: dict[str, type[Operation]] = {
    "add": Add,
    "update": Update,
    "delete": Delete,
    "hold": PendingDelete,
    "hold_update": PendingUpdate,
    "none": Noop,
    "restore": Restore,
    "resolve": Resolve,
    "expire": Expire,
    "infer": Infer,
    "invalid": Invalid,
    "embed": Embed,
    "migrate": Migrate,
    "erase_user": EraseUser,
}


def _types(hint: Any) -> frozenset[type]:
    """The types that a field's value may have."""
    if isinstance(hint, UnionType):
        return frozenset().union(*map(_types, get_args(hint)))
    return frozenset({get_origin(hint) or hint or NoneType})


# The types of each kind's fields, by name.
_FIELD_TYPES = {
    kind: {name: _types(hint) for name, hint in get_type_hints(kind).items()} for kind in OPERATIONS.values()
}
# Every field that an operation may have in a payload.
FIELDS = frozenset({"op"}).union(*_FIELD_TYPES.values())


def _require_types(operation: Operation, fields: Document) -> None:
    """Refuses values that no client writes, before they fail somewhere deep.

    Raises:
        TypeError, ValueError: a field has a value of another type.
    """
    types = _FIELD_TYPES[type(operation)]
    for name, value in fields.items():
        if type(value) not in types[name]:
            raise TypeError(name)
    expires_at = fields.get("expires_at")
    if expires_at and datetime.fromisoformat(expires_at).tzinfo is None:
        raise ValueError("expires_at")
    if isinstance(operation, Infer):
        messages = [text for message in operation.messages for text in (message["role"], message["content"])]
        found = [fact["text"] for fact in operation.facts or []]
        if not all(isinstance(text, str) for text in [*messages, *found]):
            raise TypeError("messages")


def parse_operation(fields: Document) -> Operation:
    """One operation of a payload.

    Fields that its kind does not have are left out: a newer release may add some. An unknown kind, a missing field or a
    value of the wrong type makes an `Invalid`: it fails alone and holds nothing up.

    Args:
        fields: the payload's, with `job_id`, `project`, `submitted`, `item` and `strong` of the job. Loses its `op`.
    """
    try:
        kind = OPERATIONS[fields.pop("op")]
        if not fields.keys() <= _FIELD_TYPES[kind].keys():
            fields = {name: value for name, value in fields.items() if name in _FIELD_TYPES[kind]}
        operation = kind(**fields)
        _require_types(operation, fields)
    except (KeyError, TypeError, ValueError):
        error = EmendoError(
            "this worker does not know the operation",
            error_code=ErrorCode.PAYLOAD_UNREADABLE,
            suggestion="upgrade the workers to the clients' release, then replay the job",
        )
        known = {name: fields[name] for name in ("job_id", "project", "submitted", "item", "strong")}
        return Invalid(**known, memory_id=str(fields.get("memory_id", "")), error=error.to_dict())
    return operation
