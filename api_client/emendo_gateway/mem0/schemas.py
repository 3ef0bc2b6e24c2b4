"""The answers that mem0's clients get, as the dialect's OpenAPI document shows them; `documents` makes them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

_EVENT = Literal["ADD", "UPDATE", "DELETE"]


class ErrorDetail(BaseModel):
    """An error: what is wrong, for a person, and its code."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "detail": "the filters name no user, agent, app or run",
                    "code": "VALIDATION",
                    "request_id": "0a1b2c3d4e5f60718293a4b5c6d7e8f9",
                }
            ]
        },
    )

    detail: str = Field(min_length=1)
    code: str
    request_id: str


class Ping(BaseModel):
    """The project of the key."""

    status: str
    org_id: str = Field(min_length=1)
    project_id: str = Field(min_length=1)
    user_email: None


class Memory(BaseModel):
    """A memory; `session_id` is its run."""

    id: str
    memory: str
    user_id: str | None
    agent_id: str | None
    app_id: str | None
    session_id: str | None
    actor_id: str | None
    role: str | None
    hash: str
    metadata: dict[str, Any]
    categories: list[Any]
    created_at: datetime
    updated_at: datetime
    expiration_date: str | None
    structured_attributes: None
    version: int


class Part(BaseModel):
    """A memory of a list: all of it, or the fields that `fields` chose. A search adds a score, and says `run_id`."""

    model_config = ConfigDict(
        extra="allow", json_schema_extra={"examples": [{"id": "8e03978e", "memory": "I dislike seafood."}]}
    )

    id: str


class Hits(BaseModel):
    """The memories nearest to a query, nearest first."""

    results: list[Part]


class _Page(BaseModel):
    count: int = Field(ge=0)
    next: str | None
    previous: str | None


class Memories(_Page):
    """One page of memories, newest first."""

    results: list[Part]


class HistoryRow(BaseModel):
    """One change of a memory; `change` has Emendo's own word for it."""

    id: str
    memory_id: str
    input: list[dict[str, Any]]
    old_memory: str | None
    new_memory: str | None
    user_id: str | None
    agent_id: str | None
    app_id: str | None
    session_id: str | None
    categories: list[Any]
    event: _EVENT
    change: str
    version: int
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class Effect(BaseModel):
    """The effect of a write on one memory; with `error` and `code` if it failed."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [{"id": "8e03978e", "memory": "I fish.", "data": {"memory": "I fish."}, "event": "ADD"}]
        },
    )

    id: str | None
    memory: str | None
    data: dict[str, Any]
    event: _EVENT | None


class Added(BaseModel):
    """The memories that an `add` without `infer` made."""

    message: str
    status: Literal["SUCCEEDED"]
    event_id: str
    results: list[Effect]


class Pending(BaseModel):
    """A write that is accepted and not applied yet; `/v1/event/{event_id}/` has its state."""

    message: str
    status: Literal["PENDING"]
    event_id: str


class Done(BaseModel):
    """A write that is applied; without an event if there was nothing to do."""

    message: str
    event_id: str | None


class Event(BaseModel):
    """The state of a write."""

    id: str
    event_type: str
    status: Literal["PENDING", "RUNNING", "SUCCEEDED", "FAILED"]
    payload: None
    metadata: dict[str, Any]
    results: list[Effect]
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    latency: float | None
    graph_status: None
    error: str | None


class Events(_Page):
    """One page of events, newest first."""

    results: list[Event]


class Entity(BaseModel):
    """A user, agent or run that has memories."""

    id: str
    name: str
    type: Literal["user", "agent", "run"]
    total_memories: int
    created_at: None
    updated_at: None
    owner: None
    metadata: dict[str, Any]


class Entities(_Page):
    """One page of entities, and the number of each type."""

    results: list[Entity]
    total_users: int
    total_agents: int
    total_apps: int
    total_runs: int


class KeptFeedback(BaseModel):
    """Feedback as it is kept; `id` is the event of the write."""

    id: str
    memory_id: str
    feedback: str | None
    feedback_reason: str | None
