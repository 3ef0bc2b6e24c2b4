"""Results of the client: frozen pydantic models, with the field names of docs/design.md."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class JobStatus(StrEnum):
    """A job's state: queued → running → (retrying → running)* → one of the four final states."""

    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    PARTIALLY_SUCCEEDED = "partially_succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """True when the job is over."""
        return self in FINAL_STATUSES


FINAL_STATUSES = frozenset({JobStatus.SUCCEEDED, JobStatus.PARTIALLY_SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED})


class Event(StrEnum):
    """The kind of change in a history entry."""

    ADD = "ADD"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    RESTORE = "RESTORE"
    SUPERSEDED = "SUPERSEDED"
    EXPIRE = "EXPIRE"
    MIGRATE = "MIGRATE"  # in the feed only: another embedding space became the active one


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Memory(_Model):
    """The current state of one memory."""

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

    With another metric of the index, the score is the inner product, or 1 / (1 + squared distance). In a hybrid search
    it is the place in both rankings: 1 for the first in both, 0.5 for the first in one of them.
    """

    score: float


class Page(_Model):
    """One page of `get_all`; `total` counts the memories of all pages, as they are now.

    Attributes:
        next_cursor: where the next page begins; None behind the last memory.
    """

    results: list[Memory]
    total: int
    page: int
    page_size: int
    next_cursor: str | None = None

    @property
    def has_next(self) -> bool:
        """True when a further page has results."""
        return self.next_cursor is not None or (self.page > 1 and self.page * self.page_size < self.total)


class Owner(_Model):
    """A user, agent or run, and the number of its memories that reads show."""

    id: str
    memories: int


class OwnerPage(_Model):
    """One page of `users`, `agents` or `runs`, by their ids; `next_cursor` is None behind the last one."""

    results: list[Owner]
    next_cursor: str | None = None


class HistoryEntry(_Model):
    """One recorded change of one memory; `id` is its place in the memory's stream.

    Attributes:
        old_memory, old_metadata: None for the first version, in the first entry that the history keeps
            (`EMENDO_HISTORY_ENTRIES`), and after an erasure.
        new_memory, new_metadata: None for a DELETE or EXPIRE, and after an erasure.
        reason, source, prompt_version: of a chat model's decision. `source` is the message that caused it, shortened.
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

    @property
    def text(self) -> str | None:
        """The text after the change; for a DELETE or EXPIRE, the text that it hides. None after an erasure."""
        return self.old_memory if self.new_memory is None else self.new_memory

    @property
    def metadata(self) -> dict[str, Any] | None:
        """The metadata after the change, like `text`."""
        return self.old_metadata if self.new_metadata is None else self.new_metadata


class ItemResult(_Model):
    """The effect of a job on one memory; `error` is set if there was none.

    Attributes:
        event: None for an error, and if there was nothing to do.
        memory: the text after the change, which `wait` reads from the history; for a dry run, the proposed text.
        previous_memory: the text before the change; None if the history no longer has it.
        conflict_id: id of the waiting conflict, for `resolve_conflict`.
        decision: for an inferred add, the effect of a fact: ADD, UPDATE, DELETE, or NONE if the fact is known.
        fallback: code of the reason why the decision is not the chat model's.
        erased: for `erase_user`, what was erased: `memories`, waiting `jobs`, `dead_letters` and `dry_runs` that held
            something of the user; `failed` counts memories that could not be erased.
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
    erased: dict[str, int] | None = None


class Usage(_Model):
    """A job's requests to providers; tokens as the providers counted them."""

    chat_requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    embedding_requests: int = 0
    embedding_tokens: int = 0


class JobResult(_Model):
    """The state of a job; `results` are in the order of its items, and empty until it ends.

    Attributes:
        error: the error of the first failed item.
        degraded, degraded_reason: True if nothing was inferred, and the reason.
        left_out: how many parts of the messages were no text, by kind (`image`, `audio`, `video`, `file`, `tool_call`,
            `tool_result`, `thinking`, `refusal`, `other`), and how many messages had none (`empty`). Of a batch only
            when its items were a list.
        usage: cost of inference; None without inference.
        prompts: versions of the prompts, by stage.
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
    left_out: dict[str, int] = Field(default_factory=dict)
    usage: Usage | None = None
    prompts: dict[str, str] = Field(default_factory=dict)


class JobInfo(JobResult):
    """One job as `jobs()` lists it: its state and its kind.

    The results hold no texts, and those of a batch job are in its chunks; `wait` reads both.

    Attributes:
        error: of the job; while it is under way, that of its last attempt, or of a chunk's.
        items: number of operations.
        done: finished operations of a batch job.
        chunks: number of chunks; 0 unless it is a batch job.
    """

    kind: str
    memory_id: str | None = None
    items: int = 0
    done: int = 0
    chunks: int = 0


class DeadLetter(JobInfo):
    """A job that failed for good at `finished_at`, at least in part, with its request.

    Each chunk of a batch job is a dead letter of its own, with the id `<job id>:<n>`. `results` shows which operations
    of the payload failed. `attempts` counts from the last replay, `first_attempt_at` is the very first one.

    Attributes:
        payload: the caller's operations with their texts, except those of memories erased since: never log it. None
            when it cannot be read (PAYLOAD_UNREADABLE).
        raw_payload: the stored payload, when it cannot be read: never log it either.
    """

    first_attempt_at: datetime | None = None
    last_attempt_at: datetime | None = None
    payload: list[dict[str, Any]] | None = Field(repr=False)
    raw_payload: str | None = Field(None, repr=False)


class DeadLetterProgress(_Model):
    """Progress of `replay_all` or `discard_all`.

    Attributes:
        examined: dead letters read so far; it stays below `total` if other callers remove some.
        total: dead letters of all projects in the time range when the run began.
        done: dead letters replayed or discarded.
    """

    examined: int
    total: int
    done: int


class Conflict(_Model):
    """A submission that waits for a person: its state (ours), the memory's (theirs), and their common base.

    Attributes:
        id: the argument of `resolve_conflict`.
        proposal: effect of `ours`: UPDATE, or DELETE if inference proposed more deletes than its limit.
        base: the common base's text; None if the text is not in dispute. For a DELETE, it is the text to delete.
        ours: the submission's text, or None.
        theirs: the memory's text, or None.
        base_metadata, our_metadata, their_metadata: the disputed keys only.
        expected_version: version that the submission was based on, if it named one.
        current_version: the memory's current version.
        reason: for a proposal of inference, its reason.
        source: for a proposal of inference, the message that caused it, shortened.
        prompt_version: for a proposal of inference, the version of the prompts.
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
    """A project's rules for inference; empty if it has none.

    Attributes:
        instructions: plain words for the chat model: what to remember and what to leave out.
        categories: names of the categories for facts.
    """

    instructions: str = ""
    categories: list[str] = Field(default_factory=list)


class Progress(_Model):
    """A job's progress, in items.

    Attributes:
        phase, failed, rate, eta: for a re-embedding only: its phase, failed memories, memories per second, and the
            remaining seconds.
    """

    done: int
    total: int
    status: JobStatus
    phase: str | None = None
    failed: int = 0
    rate: float | None = None
    eta: float | None = None
