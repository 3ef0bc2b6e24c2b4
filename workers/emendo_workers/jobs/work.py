"""One attempt at a job: what `start.lua` hands to a worker, parsed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

from emendo_client.exchanges.purge import ERASE_USER
from emendo_client.exchanges.reembedding.control import KINDS
from emendo_config.json_codec import read_json
from emendo_config.store import format_versions
from emendo_config.store.formats import chunk_of, job_of, planned_item
from emendo_config.store.pipeline import as_text
from emendo_config.store.scripts import Started
from emendo_workers.jobs.operations import Document, Embed, EraseUser, Infer, Migrate, Operation, parse_operation

T = TypeVar("T")
# In the head of a payload whose operations are a plan, and of one that is reported instead of carried out.
PLANNED, DRY_RUN = "planned", "dry_run"
# In the head of a plan, for each memory that it is about: the commit that made the version the decision saw. Workers of
# older releases know no further fields of an operation, but skip those of the head.
COMMITS = "commits"
# Operations that reach beyond one memory, and the kinds of the records that may have them.
_KINDS: dict[type[Operation], frozenset[str]] = {
    EraseUser: frozenset({ERASE_USER}),
    Migrate: frozenset(KINDS.values()),
}
# The last microsecond that has a date.
_LAST_MICROSECOND = 253_402_300_799_999_999


class Entry(NamedTuple):
    """An entry of an inbox: the record with this id is to be worked.

    Attributes:
        inbox: the stream's key.
        id: the entry's.
    """

    inbox: str
    id: str
    record_id: str


@dataclass(slots=True)
class Work:
    """One attempt at one job, or at one chunk of a batch job.

    Attributes:
        record_id: of the record: the job's id, for a chunk `<job id>:<n>`.
        entry: the inbox entry that asked for it.
        inbox: the stream that has the entry.
        documents: the operations as the payload has them.
        head: the payload's other fields.
        settled: result items of earlier attempts, by the operation's place; those operations are not worked again.
        cancelled: the batch was cancelled before this chunk began.
        is_first: no attempt at it began before.
        first_began: when the first attempt began (microseconds); None if this is it.
        job_id: the job's; a chunk has its batch job's.
        trace: the record's `traceparent` and `tracestate`; empty where it has none, or nobody asked for them.
        attempt: the attempt's token; the record keeps it until the attempt ends or another one begins.
    """

    record_id: str
    entry: str
    kind: str
    project: str
    attempts: int
    submitted: int
    operations: list[Operation]
    documents: list[Document] = field(default_factory=list)
    head: Document = field(default_factory=dict)
    settled: dict[int, Document] = field(default_factory=dict)
    cancelled: bool = False
    is_first: bool = False
    first_began: int | None = None
    attempt: str = ""
    strong: bool = False
    inbox: str = ""
    trace: tuple[str, str] = ("", "")
    job_id: str = field(init=False)

    def __post_init__(self) -> None:
        self.job_id = job_of(self.record_id)

    @property
    def is_chunk(self) -> bool:
        """True for a part of a batch job."""
        return self.record_id != self.job_id

    @property
    def is_planned(self) -> bool:
        """True when inference has replaced a conversation by these operations."""
        return PLANNED in self.head

    @property
    def is_inferred(self) -> bool:
        """True for a conversation, with or without a plan."""
        return self.is_planned or Infer in map(type, self.operations)

    @property
    def waiting(self) -> list[Operation]:
        """The operations this attempt is about."""
        if not self.settled:
            return list(self.operations)
        return [operation for index, operation in enumerate(self.operations) if index not in self.settled]

    def rewritten(self, head: Document, documents: list[Document]) -> Work:
        """The same attempt after its record got another payload."""
        return replace(
            self,
            head=head,
            documents=documents,
            operations=_operations(
                self.record_id,
                head,
                documents,
                project=self.project,
                submitted=self.submitted,
                strong=self.strong,
            ),
        )


class UnreadableRecordError(Exception):
    """A record that is no job's, or not one that this worker can read; its text names the field and has no content."""


def parse_work(entry: Entry, started: Started, attempt: str = "") -> Work:
    """One record of a reply of `start.lua`.

    Raises:
        UnreadableRecordError: a field is missing or damaged.
        ConfigurationError: (RELEASE_TOO_OLD) the payload's format is newer than what this release reads.
    """
    record_id = entry.record_id
    kind, project, payload, attempts, submitted, settled, strong, cancel, *more = started
    began, memory_id, damage, traceparent, tracestate = (*more, *[None] * 5)[:5]
    if damage:
        raise UnreadableRecordError(as_text(damage))
    owner = read_field("project", project, _owner)
    time = read_field("submitted", submitted, _time)
    head, documents = read_field("payload", payload, _parts)
    try:
        operations = _operations(record_id, head, documents, project=owner, submitted=time, strong=bool(strong))
    except TypeError:  # of the head
        raise UnreadableRecordError("payload") from None
    if not _fit_together(operations):
        raise UnreadableRecordError("payload")
    kind_name = as_text(kind)
    if not all(kind_name in _KINDS[each] for each in _KINDS.keys() & map(type, operations)):
        raise UnreadableRecordError("kind")
    if memory_id and PLANNED not in head and [each.memory_id for each in operations] != [as_text(memory_id)]:
        raise UnreadableRecordError("memory_id")
    return Work(
        record_id=record_id,
        entry=entry.id,
        kind=kind_name,
        project=owner,
        attempts=int(attempts),
        submitted=time,
        operations=operations,
        documents=documents,
        head=head,
        settled=read_field("settled", settled, settled_items) if settled else {},
        cancelled=bool(cancel),
        is_first=not began,
        first_began=stored_time(began),
        attempt=attempt,
        strong=bool(strong),
        inbox=entry.inbox,
        trace=(as_text(traceparent), as_text(tracestate)) if traceparent else ("", ""),
    )


def read_field(name: str, stored: Any, read: Callable[[Any], T]) -> T:
    """A stored field as `read` reads it.

    Raises:
        UnreadableRecordError: it is missing, or `read` cannot read it.
    """
    try:
        return read(stored)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise UnreadableRecordError(name) from None


def settled_items(stored: Any) -> dict[int, Document]:
    """The items of a record's `settled`, by their place.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: they are none.
    """
    items = {place: item for place, item in enumerate(read_json(stored)) if item is not None}
    for item in items.values():
        error = item.get("error")
        if not isinstance(item["memory_id"], str) or not isinstance(error, dict | None):
            raise TypeError
    return items


def stored_time(stored: Any) -> int | None:
    """A stored time that nothing depends on (microseconds); None for none, and for a damaged one."""
    text = as_text(stored)
    return int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(_LAST_MICROSECOND)) else None


def _owner(stored: Any) -> str:
    if not stored:
        raise ValueError
    return str(stored.decode())


def _time(stored: Any) -> int:
    time = int(stored)
    if not 0 < time <= _LAST_MICROSECOND:
        raise ValueError
    return time


def _parts(stored: Any) -> tuple[Document, list[Document]]:
    """The head of a payload and its operations."""
    document = read_json(stored)
    format_versions.require_readable(document.get(format_versions.FORMAT), format_versions.PAYLOAD, "a job's payload")
    documents = document["operations"]
    if not isinstance(documents, list):
        raise TypeError
    head = {name: value for name, value in document.items() if name != "operations"}
    if PLANNED in head and not all(isinstance(each, dict) for each in documents):
        raise TypeError
    return head, documents


def _fit_together(operations: Sequence[Operation]) -> bool:
    """True unless operations that are worked in different ways are mixed."""
    if len(operations) == 1:
        return True
    alone = any(isinstance(operation, Infer | Migrate) for operation in operations)
    embeds = sum(isinstance(operation, Embed) for operation in operations)
    return not alone and embeds in (0, len(operations))


def _contradicts(fields: Document, document: Document, *, is_planned: bool) -> bool:
    """True for an operation that claims another job, project, place or time than its record has.

    The record decides. To carry the operation out in the record's project would be a guess, so it is refused.
    """
    if is_planned and "submitted" in document:  # a planned operation is a submission with its own time
        time = document["submitted"]
        if type(time) is not int or not 0 < time <= _LAST_MICROSECOND:
            return True
        fields = {**fields, "submitted": time}
    return any(
        type(document[name]) is not type(value) or document[name] != value
        for name, value in fields.items()
        if name in document
    )


def _operations(
    record_id: str, head: Document, documents: list[Document], *, project: str, submitted: int, strong: bool
) -> list[Operation]:
    job_id = job_of(record_id)
    first = head.get("first")  # the place of a chunk's first item in its batch job
    commits = head.get(COMMITS, {})
    if not isinstance(commits, dict):
        raise TypeError(COMMITS)
    operations = []
    for index, document in enumerate(documents):
        item: int | str | None = None if first is None else first + index
        if PLANNED in head:
            chunk = chunk_of(record_id)
            item = planned_item(chunk, index) if chunk else index
        fields = {
            "job_id": job_id,
            "project": project,
            # Accepting a chunk reserved a submission time for each item; a planned operation has its own.
            "submitted": submitted + (0 if first is None else index),
            "item": item,
            "strong": strong,
        }
        if isinstance(document, dict):
            if _contradicts(fields, document, is_planned=PLANNED in head):
                document = {"op": None, "memory_id": document.get("memory_id", "")}  # noqa: PLW2901  # it fails alone
            fields |= document
            if commits and "expected_version" in document:
                fields["expected_commit"] = commits.get(document.get("memory_id"))
        operations.append(parse_operation(fields))
    return operations
