"""The documents of the native surface. Unknown fields are refused; the client checks what the types cannot say."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from emendo_client.exchanges.memories import SEARCH_MODES
from emendo_client.models import HistoryEntry, JobInfo, JobResult, Memory, SearchHit
from emendo_client.requests.operations import CONFLICT_MODES

Scope = Annotated[str | None, Field(None, max_length=256)]
Metadata = Annotated[dict[str, Any] | None, Field(None, examples=[{"topic": "food"}])]
Filters = Annotated[
    dict[str, Any] | None,
    Field(
        None, description="Further conditions; see docs/how-to/filter.md.", examples=[{"metadata": {"topic": "food"}}]
    ),
]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


Body = _Request  # for bodies in the files of their routes


class NewMemories(_Request):
    """Messages to remember, and the scope of the memories."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"messages": "I dislike seafood.", "user_id": "ana", "infer": False}]}
    )

    messages: str | dict[str, Any] | list[dict[str, Any]] = Field(
        description="A text, a message `{role, content}`, or a list of them."
    )
    user_id: Scope
    agent_id: Scope
    run_id: Scope
    metadata: Metadata
    infer: bool = Field(True, description="Ask the chat model what to remember; false stores the messages as they are.")
    dry_run: bool = Field(False, description="Change nothing; the result says what would be done.")
    expires_at: str | None = Field(None, description="ISO-8601 with a time zone.", examples=["2030-01-31T12:00:00Z"])


class Change(_Request):
    """A change of one memory: new text, metadata to merge (null removes a key), or both."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "I enjoy seafood, especially sushi."}]})

    text: str | None = None
    metadata: Metadata
    actor_id: Scope
    role: str | None = None
    on_conflict: str = Field(
        "last_write_wins",
        description="The way out when someone else changed the same field.",
        json_schema_extra={"enum": list(CONFLICT_MODES)},
    )


class Replacement(_Request):
    """All of a memory that can change: its text, and its metadata as a whole."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"text": "I enjoy seafood.", "metadata": {"topic": "food"}}]}
    )

    text: str
    metadata: dict[str, Any] = Field(default_factory=dict)
    actor_id: Scope
    role: str | None = None


class Restoration(_Request):
    """The version that a memory is brought back to."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"version": 2}]})

    version: int | None = Field(None, ge=1, description="Text and metadata as they were then; null: as they are now.")
    actor_id: Scope


class Selection(_Request):
    """A scope, and further conditions."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user_id": "ana"}]})

    user_id: Scope
    agent_id: Scope
    run_id: Scope
    filters: Filters
    all_users: bool = Field(False, description="The whole project.")
    include_deleted: bool = False


class Condemned(_Request):
    """A scope whose memories are to be deleted, and further conditions."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user_id": "ana"}]})

    user_id: Scope
    agent_id: Scope
    run_id: Scope
    filters: Filters
    hard: bool = Field(False, description="Erase them; that cannot be undone.")


class Query(_Request):
    """A search among a scope's memories."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"query": "fish", "user_id": "ana", "limit": 5}]})

    query: str
    user_id: Scope
    agent_id: Scope
    run_id: Scope
    filters: Filters
    limit: int = Field(10, ge=1, le=1_000)
    all_users: bool = Field(False, description="Search the whole project.")
    mode: str = Field("vector", json_schema_extra={"enum": list(SEARCH_MODES)})
    threshold: float | None = Field(None, description="The smallest score of a hit.")


class AcceptedJob(BaseModel):
    """A job that was accepted just now."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "job_id": "8e03978e-40d5-43dd-bc93-6894a57f9324",
                    "status": "queued",
                    "url": "/api/v1/jobs/8e03978e-40d5-43dd-bc93-6894a57f9324",
                }
            ]
        }
    )

    job_id: str
    status: str
    url: str = Field(description="Where the job's state is; the same as `Location`.")


class FinishedJob(JobResult):
    """A job that has ended, and what became of each memory."""


class JobState(JobInfo):
    """A job as it is now. `results` are there once it has ended."""


class MemoryPage(BaseModel):
    """One page of memories; `next_cursor` is null behind the last one."""

    results: list[Memory]
    total: int
    next_cursor: str | None = None


class Count(BaseModel):
    """The number of memories of a selection."""

    count: int


class History(BaseModel):
    """Every change of a memory, oldest first."""

    results: list[HistoryEntry]


class Jobs(BaseModel):
    """The newest jobs of the project, newest first."""

    results: list[JobInfo]


class Cancellation(BaseModel):
    """`cancelled` is true when the job will never change anything, and false when it was too late."""

    job_id: str
    cancelled: bool


class Hits(BaseModel):
    """The memories nearest to a query, nearest first."""

    results: list[SearchHit]


class ProblemField(BaseModel):
    """One wrong field of a request."""

    field: str
    message: str


class ProblemDetails(BaseModel):
    """An error (RFC 9457)."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "/errors/VERSION_MISMATCH",
                    "title": "The memory does not have the expected version.",
                    "status": 412,
                    "detail": "the memory does not have the version of If-Match",
                    "code": "VERSION_MISMATCH",
                    "request_id": "0a1b2c3d4e5f60718293a4b5c6d7e8f9",
                    "advice": "read it again and decide whether the change is still wanted",
                    "details": {"expected_version": 3, "current_version": 4},
                }
            ]
        },
    )

    type: str = Field(description="Address of the error's page.")
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    advice: str | None = None
    details: dict[str, Any] | None = None
    errors: list[ProblemField] | None = None
