"""What workers work on: jobs and chunks of batch jobs, and their operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from emendo_client.errors import EmendoError
from emendo_client.records import job_of
from emendo_config.compact import read_json
from emendo_config.redis_io import as_text


# Never changed once made, like a Work; but not frozen, which would make making it five times as slow, and one is made
# for every job.
@dataclass(slots=True)
class Operation:
    """One change to one memory, as its job asks for it.

    Attributes:
        job_id: of the whole job; what the history says.
        submitted: when it was accepted, in microseconds of the control Redis's clock, unique.
        op: add, update, delete, hold (a delete that waits for a person), restore, resolve or expire; infer, of which
            a plan of others is made; none, for a fact that the memory says already; invalid for a batch's item that
            was refused; embed and migrate are those of a re-embedding.
        item: its place in a batch job or in a plan, in a chunk's plan `<chunk>.<n>`; None otherwise.
        hard: of a delete: nothing of the content stays.
        deleted_before: of a delete: only if the memory was deleted or had expired before (microseconds).
        conflict, choice: of a resolve: the mark of the submission that waits, and what becomes of it.
        error: of an invalid one: what is wrong, as `EmendoError.to_dict` gives it.
        space: of an embed: the space whose vector the memory is to get.
        anew: of an embed: although it has it.
        goal, wanted, filters, allow_missing, migration: of a migrate: see `emendo_client.reembedding.steering`.
        strong: the caller waits until the commit is as safe as the settings ask for.
        reason, source, prompt: of what a chat model decided: why, the message that caused it, the prompts' version.
        messages, dry_run: of an infer: the conversation, and whether nothing is to be changed.
        facts: of an infer: those found in it, once they are; `{text, source[, category]}`.
        decision, fallback: of a planned one: what the fact does, and why that is not the chat model's word.
        fact: of a planned one: the fact's text, when it is not `text`; redecided: how often it was decided anew.
    """

    job_id: str
    project: str
    submitted: int
    op: str
    memory_id: str
    item: int | str | None = None
    text: str | None = None
    metadata: dict[str, Any] | None = None
    user_id: str | None = None
    agent_id: str | None = None
    run_id: str | None = None
    actor_id: str | None = None
    role: str | None = None
    expires_at: str | None = None
    expected_version: int | None = None
    on_conflict: str = "last_write_wins"
    version: int | None = None
    hard: bool = False
    deleted_before: int | None = None
    conflict: str | None = None
    choice: str | None = None
    error: dict[str, Any] | None = None
    space: str = ""
    anew: bool = False
    goal: str = ""
    wanted: dict[str, Any] | None = None
    filters: dict[str, Any] | None = None
    allow_missing: bool = False
    migration: str = ""
    strong: bool = False
    reason: str | None = None
    source: str | None = None
    prompt: str | None = None
    messages: list[dict[str, str]] | None = None
    dry_run: bool = False
    facts: list[dict[str, Any]] | None = None
    decision: str | None = None
    fallback: str | None = None
    fact: str | None = None
    redecided: int = 0

    @property
    def mark(self) -> str:
        """What tells this operation from every other one on its memory: the end of its applied key."""
        return self.job_id if self.item is None else f"{self.job_id}:{self.item}"


@dataclass(slots=True)
class Work:
    """One attempt at one job, or at one chunk of a batch job.

    Attributes:
        record_id: of the record: the job's id, for a chunk `<job id>:<n>`.
        entry: the inbox entry that asked for it.
        inbox: the stream that has the entry.
        documents: the operations as the payload has them.
        head: what the payload says besides them.
        settled: result items of earlier attempts, by operation; these are not worked again.
        cancelled: True when somebody cancelled the batch before this chunk began.
        attempt: the attempt's token; the record has it until the attempt is over or another one begins.
    """

    record_id: str
    entry: str
    kind: str
    project: str
    attempts: int
    submitted: int
    operations: list[Operation]
    documents: list[dict[str, Any]] = field(default_factory=list)
    head: dict[str, Any] = field(default_factory=dict)
    settled: dict[int, dict[str, Any]] = field(default_factory=dict)
    cancelled: bool = False
    attempt: str = ""
    strong: bool = False
    inbox: str = ""

    @property
    def job_id(self) -> str:
        """The job's id; of a chunk, its batch job's."""
        return job_of(self.record_id)

    @property
    def is_chunk(self) -> bool:
        """True for a part of a batch job."""
        return self.record_id != self.job_id

    @property
    def is_planned(self) -> bool:
        """True when the operations are what inference made of a conversation."""
        return "planned" in self.head

    @property
    def is_inferred(self) -> bool:
        """True for a conversation, whether there is a plan for it already or not."""
        return self.is_planned or any(operation.op == "infer" for operation in self.operations)

    @property
    def waiting(self) -> list[Operation]:
        """The operations this attempt is about."""
        return [operation for index, operation in enumerate(self.operations) if index not in self.settled]

    def rewritten(self, head: dict[str, Any], documents: list[dict[str, Any]]) -> Work:
        """The same attempt with another payload, which the record has by now."""
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


class Entry(NamedTuple):
    """What an inbox says: work on this record.

    Attributes:
        inbox: the stream.
        id: the entry's.
    """

    inbox: str
    id: str
    record_id: str


def parse_work(entry: Entry, values: Sequence[Any], attempt: str = "") -> Work:
    """The reply of `start.lua` for one record."""
    record_id = entry.record_id
    kind, project, payload, attempts, submitted, settled, strong, cancel = values
    document = read_json(payload)
    results = enumerate(read_json(settled) if settled else [])
    head = {name: value for name, value in document.items() if name != "operations"}
    return Work(
        record_id=record_id,
        entry=entry.id,
        kind=as_text(kind),
        project=as_text(project),
        attempts=int(attempts),
        submitted=int(submitted),
        operations=_operations(
            record_id,
            head,
            document["operations"],
            project=as_text(project),
            submitted=int(submitted),
            strong=bool(strong),
        ),
        documents=document["operations"],
        head=head,
        settled={index: result for index, result in results if result is not None},
        cancelled=bool(cancel),
        attempt=attempt,
        strong=bool(strong),
        inbox=entry.inbox,
    )


def _operations(
    record_id: str, head: dict[str, Any], documents: list[dict[str, Any]], *, project: str, submitted: int, strong: bool
) -> list[Operation]:
    first = head.get("first")  # the place of a chunk's first item in its batch job
    chunk = record_id.partition(":")[2]
    operations = []
    for index, fields in enumerate(documents):
        item: int | str | None = None if first is None else first + index
        if "planned" in head:
            item = f"{chunk}.{index}" if chunk else index
        common = {
            "job_id": job_of(record_id),
            "project": project,
            # Accepting a chunk reserved a submission time for each of its items; what is planned has its own.
            "submitted": submitted + (0 if first is None else index),
            "item": item,
            "strong": strong,
        }
        operations.append(_parse_operation({**common, **fields}))
    return operations


def _parse_operation(fields: dict[str, Any]) -> Operation:
    """One operation; one nobody can read (a newer release wrote it) fails alone, instead of holding back its shard."""
    try:
        return Operation(**fields)
    except TypeError:
        error = EmendoError(
            "this worker does not know the operation",
            error_code="PAYLOAD_UNREADABLE",
            suggestion="upgrade the workers to the clients' release, then replay the job",
        )
        known = {name: fields[name] for name in ("job_id", "project", "submitted", "item", "strong")}
        memory_id = str(fields.get("memory_id", ""))
        return Operation(**known, op="invalid", memory_id=memory_id, error=error.to_dict())
