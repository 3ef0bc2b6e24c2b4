"""Job records and dead letters, read into `JobInfo` and `DeadLetter`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from emendo_client.models import DeadLetter, ItemResult, JobInfo, JobStatus
from emendo_client.times import moment_of
from emendo_config.error_codes import ErrorCode
from emendo_config.json_codec import read_json
from emendo_config.store.format_versions import FORMAT, PAYLOAD, RECORD, require_readable
from emendo_config.store.pipeline import as_text

# The fields of `emendo:job:<id>` that make a JobInfo, in the order they are read.
JOB_FIELDS = (
    "id",
    "project",
    "kind",
    "memory_id",
    "status",
    "results",
    "error",
    "attempts",
    "submitted",
    "started",
    "finished",
    "next_attempt",
    "degraded",
    "left_out",
    "usage",
    "prompts",
    "items",
    "chunks",
    "done",
    "last_error",
    FORMAT,
)
DEAD_LETTER_FIELDS = (*JOB_FIELDS, "began", "payload")
# More would be a thousand million items; a loop up to a damaged number never ends.
_MOST_CHUNKS = 1_000_000
_STATUSES = frozenset(JobStatus)


def job_document(values: Sequence[Any]) -> dict[str, Any] | None:
    """The values of JOB_FIELDS as a document; None when there is no such record.

    A damaged field is shown as an absent one, so that one record never hides the others of a list.

    Raises:
        ConfigurationError: (RELEASE_TOO_OLD) the record's format is newer than what this release reads.
    """
    if values[0] is None:
        return None
    fields = {name: as_text(value) for name, value in zip(JOB_FIELDS, values, strict=True)}
    require_record(fields[FORMAT])
    return {
        "job_id": fields["id"],
        "project": fields["project"],
        "kind": fields["kind"],
        "memory_id": fields["memory_id"] or None,
        "status": fields["status"] if fields["status"] in _STATUSES else JobStatus.RUNNING,
        "results": _results(fields["results"]),
        "error": _error(fields["error"] or fields["last_error"]),
        "attempts": stored_number(fields["attempts"]),
        "submitted_at": _moment(fields["submitted"]) or moment_of("0"),
        "started_at": _moment(fields["started"]),
        "finished_at": _moment(fields["finished"]),
        "next_attempt_at": _moment(fields["next_attempt"]),
        "degraded": bool(fields["degraded"]),
        "degraded_reason": fields["degraded"] or None,
        "left_out": _counts(fields["left_out"]),
        "usage": _counts(fields["usage"]) or None,
        "prompts": {name: str(version) for name, version in stored_document(fields["prompts"]).items()},
        "items": stored_number(fields["items"]),
        "chunks": stored_chunks(fields["chunks"]),
        "done": stored_number(fields["done"]),
    }


def require_record(stated: Any) -> None:
    """Refuses a record by its format.

    Raises:
        ConfigurationError: (RELEASE_TOO_OLD) the format is newer than what this release reads.
    """
    require_readable(stored_number(stated) or None, RECORD, "a job's record")


def job_info(document: Mapping[str, Any]) -> JobInfo:
    """The document of `job_document` as a `JobInfo`."""
    return JobInfo.model_validate(document)


def dead_letter(values: Sequence[Any]) -> DeadLetter | None:
    """The values of DEAD_LETTER_FIELDS as a dead letter; None when the record is not one."""
    *job, began, payload = values
    document = job_document(job)
    if document is None or payload is None or not JobStatus(document["status"]).is_final:
        return None
    operations = stored_operations(payload)
    return DeadLetter.model_validate(
        {
            **document,
            "first_attempt_at": document["started_at"],
            "last_attempt_at": _moment(as_text(began)),
            "payload": operations,
            "raw_payload": as_text(payload) if operations is None else None,
        }
    )


def stored_operations(payload: Any) -> list[dict[str, Any]] | None:
    """The operations of a payload; None when it cannot be read, or has a format that this release does not read."""
    document = stored_document(payload)
    operations = document.get("operations") if stored_number(document.get(FORMAT)) <= PAYLOAD else None
    if not isinstance(operations, list) or not all(isinstance(each, dict) for each in operations):
        return None
    return operations


def stored_document(stored: Any) -> dict[str, Any]:
    """A stored JSON object; empty when it is absent or damaged."""
    document = _json(stored)
    return document if isinstance(document, dict) else {}


def stored_items(stored: Any) -> list[Any]:
    """The readable items of stored results; None stands for one that is not settled."""
    items = _json(stored)
    return [item if _is_item(item) else None for item in items] if isinstance(items, list) else []


def stored_number(stored: Any) -> int:
    """A stored whole number; 0 when it is absent or damaged."""
    try:
        return int(stored or 0)
    except (ValueError, TypeError, OverflowError):
        return 0


def stored_chunks(stored: Any) -> int:
    """The stored number of a job's chunks; 0 when it is absent or damaged, or more than any job has."""
    number = stored_number(stored)
    return number if 0 <= number <= _MOST_CHUNKS else 0


def _results(stored: str) -> list[Any]:
    return [item for item in stored_items(stored) if item is not None]


def _error(stored: str) -> dict[str, Any] | None:
    """A stored error; a damaged one says no more than that, since its words may be anything."""
    document = stored_document(stored)
    if isinstance(document.get("code"), str) and isinstance(document.get("message"), str):
        return document
    return {"code": ErrorCode.RECORD_UNREADABLE, "message": "the job's error cannot be read"} if stored else None


def _is_item(item: Any) -> bool:
    try:
        ItemResult.model_validate(item)
    except ValueError:
        return False
    return True


def _counts(stored: str) -> dict[str, int]:
    return {name: count for name, count in stored_document(stored).items() if isinstance(count, int)}


def _moment(stored: str) -> datetime | None:
    try:
        return moment_of(stored)
    except (ValueError, OverflowError):
        return None


def _json(stored: Any) -> Any:
    try:
        return read_json(stored) if stored else None
    except ValueError:
        return None
