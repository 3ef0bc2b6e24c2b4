"""Memories, histories and events as mem0's clients know them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

from emendo_client.errors import ValidationError
from emendo_client.models import Event, HistoryEntry, ItemResult, JobInfo, JobResult, JobStatus, Memory, SearchHit
from emendo_gateway.mem0.filters import APP, CATEGORY

# A memory lasts to the end of its expiration date, in UTC.
_END_OF_DAY = "T23:59:59.999999+00:00"
_EVENTS = {Event.RESTORE: Event.UPDATE, Event.SUPERSEDED: Event.UPDATE, Event.EXPIRE: Event.DELETE}
_STATUSES = {
    JobStatus.QUEUED: "PENDING",
    JobStatus.RUNNING: "RUNNING",
    JobStatus.RETRYING: "RUNNING",
    JobStatus.SUCCEEDED: "SUCCEEDED",
}


def expiry(given: str | None) -> str | None:
    """When a memory with this `expiration_date` expires, for `expires_at`: a date, or a time with a time zone."""
    if given is None or len(given) != len("2026-01-31"):
        return given
    try:
        return f"{date.fromisoformat(given).isoformat()}{_END_OF_DAY}"
    except ValueError:
        raise ValidationError("expiration_date is no date", suggestion="write it like 2026-01-31") from None


def memory(found: Memory, *, run: str = "session_id") -> dict[str, Any]:
    """A memory; lists call its run `session_id`, searches `run_id`."""
    metadata = dict(found.metadata)
    app = metadata.pop(APP, None)
    return {
        "id": found.id,
        "memory": found.memory,
        "user_id": found.user_id,
        "agent_id": found.agent_id,
        "app_id": app,
        run: found.run_id,
        "actor_id": found.actor_id,
        "role": found.role,
        "hash": found.hash,
        "metadata": metadata,
        "categories": _categories(metadata),
        "created_at": _iso(found.created_at),
        "updated_at": _iso(found.updated_at),
        "expiration_date": None if found.expires_at is None else found.expires_at.date().isoformat(),
        "structured_attributes": None,
        "version": found.version,
    }


def hit(found: SearchHit) -> dict[str, Any]:
    """A memory that a search found, with its score from 0 to 1."""
    return {**memory(found, run="run_id"), "score": min(1.0, max(0.0, found.score))}


def only(documents: Iterable[dict[str, Any]], fields: list[str] | None) -> list[dict[str, Any]]:
    """The documents with their id and these fields only; whole without a choice."""
    if not fields:
        return list(documents)
    names = {"id", *fields}
    return [{name: value for name, value in each.items() if name in names} for each in documents]


def history_row(entry: HistoryEntry, owner: Memory | None) -> dict[str, Any]:
    """One change of a memory.

    `event` is one of mem0's three. `change` has Emendo's own word, such as RESTORE.
    """
    metadata = dict(entry.metadata or {})
    return {
        "id": entry.id,
        "memory_id": entry.memory_id,
        "input": [] if entry.source is None else [{"role": "user", "content": entry.source}],
        "old_memory": entry.old_memory,
        "new_memory": entry.new_memory,
        "user_id": owner.user_id if owner else None,
        "agent_id": owner.agent_id if owner else None,
        "app_id": metadata.pop(APP, None),
        "session_id": owner.run_id if owner else None,
        "categories": _categories(metadata),
        "event": _EVENTS.get(entry.event, entry.event).value,
        "change": entry.event.value,
        "version": entry.version,
        "metadata": metadata,
        "created_at": _iso(entry.created_at),
        "updated_at": _iso(entry.updated_at),
    }


def result(item: ItemResult) -> dict[str, Any]:
    """The effect of a job on one memory."""
    found: dict[str, Any] = {
        "id": item.memory_id,
        "memory": item.memory,
        "data": {"memory": item.memory},
        "event": None if item.event is None else _EVENTS.get(item.event, item.event).value,
    }
    if item.previous_memory is not None:
        found["previous_memory"] = item.previous_memory
    if item.error is not None:
        found["error"] = item.error.get("message")
        found["code"] = item.error.get("code")
    return found


def results(ended: JobResult) -> list[dict[str, Any]]:
    """The effects of a job that ended; an item without one is left out, unless it failed."""
    return [result(item) for item in ended.results if item.event is not None or item.error is not None]


def status(found: JobStatus) -> str:
    """mem0's word for a job's state. A success in part is a failure: `results` tells the parts apart."""
    return _STATUSES.get(found, "FAILED")


def event(job: JobInfo, ended: JobResult | None = None) -> dict[str, Any]:
    """A job; its payload is not told, since it may hold texts that are erased by now."""
    latency = None
    if job.finished_at is not None:
        latency = round((job.finished_at - (job.started_at or job.submitted_at)).total_seconds() * 1_000, 3)
    moment = job.finished_at or job.started_at or job.submitted_at
    return {
        "id": job.job_id,
        "event_type": job.kind.upper(),
        "status": status(job.status),
        "payload": None,
        "metadata": {},
        "results": results(ended or job),
        "created_at": _iso(job.submitted_at),
        "updated_at": _iso(moment),
        "started_at": _iso(job.started_at),
        "completed_at": _iso(job.finished_at),
        "latency": latency,
        "graph_status": None,
        "error": _why(job),
    }


def _why(job: JobInfo) -> str | None:
    """Why a job failed; mem0 has no word for one that was cancelled, so its state is FAILED, too."""
    if job.status is JobStatus.CANCELLED:
        return "the job was cancelled"
    return job.error.get("message") if job.error and job.status.is_final else None


def _categories(metadata: dict[str, Any]) -> list[Any]:
    """The categories as a list: inference sets one, and a caller may set several."""
    category = metadata.get(CATEGORY)
    return category if isinstance(category, list) else [] if category is None else [category]


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
