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
    """A memory found by `search`; `score` is the cosine similarity to the query, at most 1."""

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
    """One recorded change of one memory; `id` is its place in the memory's stream."""

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


class ItemResult(_Model):
    """What a job did to one memory; `error` is set when it did nothing."""

    memory_id: str
    event: Event | None = None
    memory: str | None = None
    previous_memory: str | None = None
    version: int | None = None
    error: dict[str, Any] | None = None


class JobResult(_Model):
    """Where a job stands; `results` follow the order of its items and are empty until it ends."""

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


class JobInfo(JobResult):
    """One line of `jobs()` or `dead_letters()`: the result and what kind of job it is."""

    kind: str
    memory_id: str | None = None


class Progress(_Model):
    """How far a job is, in items."""

    done: int
    total: int
    status: JobStatus
