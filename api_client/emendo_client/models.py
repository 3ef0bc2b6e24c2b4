"""What the client returns: pydantic models, frozen, with the field names of docs/design.md."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class JobStatus(StrEnum):
    """A job's state: queued → running → (retrying → running)* → one of the final four."""

    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    PARTIALLY_SUCCEEDED = "partially_succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """True when nothing more will happen to the job."""
        return self in FINAL_STATUSES


FINAL_STATUSES = frozenset({JobStatus.SUCCEEDED, JobStatus.PARTIALLY_SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED})


class Event(StrEnum):
    """What a history entry records."""

    ADD = "ADD"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    RESTORE = "RESTORE"
    SUPERSEDED = "SUPERSEDED"
    EXPIRE = "EXPIRE"
    MIGRATE = "MIGRATE"  # in the feed only: searches go through another embedding space


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Memory(_Model):
    """One memory as it is now."""

    id: str
    memory: str
    user_id: str | None = None
    agent_id: str | None = None
    run_id: str | None = None
    actor_id: str | None = None
    role: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    hash: str
    version: int
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None = None
    is_deleted: bool = False
    embedding_model: str | None = None


class SearchHit(Memory):
    """A memory found by `search`; `score` is its similarity to the query: the cosine, at most 1.

    In a store whose index has another metric: the inner product, or 1 / (1 + squared distance).
    """

    score: float


class Page(_Model):
    """One page of `get_all`, newest first; `total` counts all pages."""

    results: list[Memory]
    total: int
    page: int
    page_size: int

    @property
    def has_next(self) -> bool:
        """True when a further page has results."""
        return self.page * self.page_size < self.total


class HistoryEntry(_Model):
    """One recorded change of one memory; `id` is its place in the memory's stream.

    Attributes:
        reason, source, prompt_version: of what a chat model decided: why, the message that caused it (shortened), and
            the version of the prompt that asked.
    """

    id: str
    memory_id: str
    version: int
    event: Event
    old_memory: str | None = None
    new_memory: str | None = None
    old_metadata: dict[str, Any] | None = None
    new_metadata: dict[str, Any] | None = None
    created_at: datetime
    updated_at: datetime
    is_deleted: bool = False
    actor_id: str | None = None
    role: str | None = None
    job_id: str
    previous_hash: str | None = None
    reason: str | None = None
    source: str | None = None
    prompt_version: str | None = None


class ItemResult(_Model):
    """What a job did to one memory; `error` is set when it did nothing.

    Attributes:
        event: None when there was an error, or nothing to do.
        memory, previous_memory: the text after and before it, as `wait` reads them from the history; of a dry run, as
            they would be.
        conflict_id: what of the submission waits for `resolve_conflict`.
        decision: of an inferred add, what a fact does: ADD, UPDATE, DELETE, or NONE, when the memory says it already.
        fallback: why the decision is not the chat model's: a code.
    """

    memory_id: str
    event: Event | None = None
    memory: str | None = None
    previous_memory: str | None = None
    version: int | None = None
    error: dict[str, Any] | None = None
    conflict_id: str | None = None
    decision: str | None = None
    fallback: str | None = None


class Usage(_Model):
    """What a job asked of providers; tokens as they counted them."""

    chat_requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    embedding_requests: int = 0
    embedding_tokens: int = 0


class JobResult(_Model):
    """Where a job stands; `results` follow the order of its items and are empty until it ends.

    Attributes:
        error: the first failed item's.
        degraded: nothing was inferred; degraded_reason: why.
        usage: of inference; None when there was none.
        prompts: the versions of the prompts that were used, by stage.
    """

    job_id: str
    status: JobStatus
    results: list[ItemResult] = Field(default_factory=list)
    error: dict[str, Any] | None = None
    attempts: int = 0
    submitted_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    next_attempt_at: datetime | None = None
    degraded: bool = False
    degraded_reason: str | None = None
    usage: Usage | None = None
    prompts: dict[str, str] = Field(default_factory=dict)


class JobInfo(JobResult):
    """One line of `jobs()`: how the job stands, and what kind of job it is.

    Its results carry no texts, and those of a batch job stand in its chunks: `wait` reads both.

    Attributes:
        items: operations in all; done: those that ended, in a batch job; chunks: 0 unless it is one.
    """

    kind: str
    memory_id: str | None = None
    items: int = 0
    done: int = 0
    chunks: int = 0


class DeadLetter(JobInfo):
    """A job of which something failed for good, and what it asked for; it died at `finished_at`.

    Of a batch job each chunk is a letter of its own, with the id `<job id>:<n>`. `results` says which of the payload's
    operations failed. `attempts` counts from the last replay, `first_attempt_at` from the beginning. `payload` holds
    the operations as their caller gave them, texts too (but for memories erased since): never log it.
    """

    first_attempt_at: datetime | None = None
    last_attempt_at: datetime | None = None
    payload: list[dict[str, Any]] = Field(repr=False)


class DeadLetterProgress(_Model):
    """How far `replay_all` or `discard_all` is: letters looked at, all there were when it began, and those done.

    `total` counts the letters of every project in that time; `examined` ends below it when others take letters away.
    """

    examined: int
    total: int
    done: int


class Conflict(_Model):
    """A submission that waits for a person: what it says (ours), what the memory says (theirs), where both began.

    Attributes:
        id: for `resolve_conflict`.
        proposal: what `ours` would do: UPDATE, or DELETE for one that inference proposed beyond its limit.
        base, ours, theirs: texts; None where the text is not in dispute. Of a DELETE, base is what it was to delete.
        base_metadata, our_metadata, their_metadata: the disputed keys only.
        expected_version: what the submission was based on, when it said so.
        current_version: the memory's, now.
        reason, source, prompt_version: of what inference proposed: why, the message that caused it (shortened), and
            the version of the prompts that asked.
    """

    id: str
    memory_id: str
    job_id: str
    submitted_at: datetime
    created_at: datetime
    actor_id: str | None = None
    role: str | None = None
    proposal: Event = Event.UPDATE
    base: str | None = None
    ours: str | None = None
    theirs: str | None = None
    base_metadata: dict[str, Any] = Field(default_factory=dict)
    our_metadata: dict[str, Any] = Field(default_factory=dict)
    their_metadata: dict[str, Any] = Field(default_factory=dict)
    expected_version: int | None = None
    current_version: int
    reason: str | None = None
    source: str | None = None
    prompt_version: str | None = None


class ProjectRules(_Model):
    """What a project asks of inference; empty when it asks for nothing.

    Attributes:
        instructions: in plain words, for the chat model: what to remember and what to leave out.
        categories: the names facts are sorted into.
    """

    instructions: str = ""
    categories: list[str] = Field(default_factory=list)


class Progress(_Model):
    """How far a job is, in items.

    Attributes:
        phase, failed, rate, eta: of a re-embedding only: where it stands, memories it failed at, memories a second,
            seconds left.
    """

    done: int
    total: int
    status: JobStatus
    phase: str | None = None
    failed: int = 0
    rate: float | None = None
    eta: float | None = None
