"""How models stand in Redis: memory hashes, history streams and job records, read back into models."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from emendo_client._time import iso, microseconds_of
from emendo_client.models import Conflict, DeadLetter, Event, HistoryEntry, JobInfo, JobStatus, Memory, SearchHit
from emendo_config.compact import read_json
from emendo_config.index import TAG_SEPARATOR
from emendo_config.redis_io import as_text

# The fields of `emendo:memory:{<id>}` that make a Memory, in the order they are asked for.
MEMORY_FIELDS = (
    "id",
    "memory",
    "user_id",
    "agent_id",
    "run_id",
    "actor_id",
    "role",
    "metadata",
    "hash",
    "version",
    "created_at",
    "updated_at",
    "expires_at",
    "is_deleted",
    "embedding_model",
    "project",
)
# What a search answers: a name said anew for each field of each memory is looked up, not read.
_FOUND = {name.encode(): name for name in (*MEMORY_FIELDS, "distance")}
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
    "usage",
    "prompts",
    "items",
    "chunks",
    "done",
)
DEAD_LETTER_FIELDS = (*JOB_FIELDS, "began", "payload")
MAX_TAG_CHARS = 1_024


def job_of(record_id: str) -> str:
    """The job's id, of a job's record or of a batch job's chunk (`<job id>:<n>`)."""
    return record_id.partition(":")[0]


def split_conflict_id(conflict_id: str) -> tuple[str, str]:
    """The memory's id and the mark of the submission that waits (a mark may hold colons, a memory id cannot)."""
    memory_id, _, mark = conflict_id.partition(":")
    return memory_id, mark


def version_entry_id(version: int) -> str:
    """The id of a version's entry in its memory's history stream (see `commit.lua`)."""
    return f"{version}-0"


def memory_document(values: Sequence[Any]) -> dict[str, Any] | None:
    """The values of MEMORY_FIELDS as a document for `Memory`; None when there is no such hash, or it was erased."""
    return _document(
        {name: as_text(value) for name, value in zip(MEMORY_FIELDS, values, strict=True) if value is not None}
    )


def _document(fields: dict[str, Any]) -> dict[str, Any] | None:
    """Makes the fields of a hash, those that are there, a document for `Memory`."""
    if "id" not in fields or "hash" not in fields:
        return None
    fields["metadata"] = read_json(fields.get("metadata", "{}"))
    fields["is_deleted"] = fields.get("is_deleted") == "1"
    return fields


def visible_memory(values: Sequence[Any], project: str, *, include_deleted: bool) -> Memory | None:
    """The memory, unless it is another project's, erased, deleted or expired."""
    document = memory_document(values)
    if document is None or document["project"] != project:
        return None
    memory = Memory.model_validate(document)
    gone = memory.is_deleted or (memory.expires_at is not None and memory.expires_at.timestamp() <= time.time())
    return None if gone and not include_deleted else memory


def memories_found(reply: Sequence[Any], *, scored: bool, metric: str = "cosine") -> tuple[int, list[Any]]:
    """An FT.SEARCH reply (total, then key and fields alternating) as the total and Memory or SearchHit objects.

    Args:
        reply: to a search for MEMORY_FIELDS and, when scored, `distance`.
        scored: True for SearchHit.
        metric: of the distances.
    """
    found: list[Any] = []
    for flat in reply[2::2]:
        document = _document({_FOUND[name]: value.decode() for name, value in zip(flat[::2], flat[1::2], strict=True)})
        if document is None:  # removed between the index's answer and the read of its fields
            continue
        if scored:
            document["score"] = _similarity(float(document.pop("distance")), metric)
            found.append(SearchHit.model_validate(document))
        else:
            found.append(Memory.model_validate(document))
    return int(reply[0]), found


def _similarity(distance: float, metric: str) -> float:
    """The more alike, the higher; Redis gives squared distances for l2, and 1 - product for the others."""
    return 1.0 / (1.0 + distance) if metric == "l2" else 1.0 - distance


def history_entry(memory_id: str, entry_id: Any, raw: Mapping[Any, Any]) -> HistoryEntry:
    """One entry of a history stream."""
    fields = {as_text(name): as_text(value) for name, value in raw.items()}
    document: dict[str, Any] = {**fields, "id": as_text(entry_id), "memory_id": memory_id}
    for name in ("old_metadata", "new_metadata"):
        if name in fields:
            document[name] = read_json(fields[name])
    document["is_deleted"] = fields.get("is_deleted") == "1"
    return HistoryEntry.model_validate(document)


def _moment(value: str) -> datetime | None:
    return datetime.fromisoformat(iso(int(value))) if value else None


def job_document(values: Sequence[Any]) -> dict[str, Any] | None:
    """The values of JOB_FIELDS as a document; None when there is no such record."""
    if values[0] is None:
        return None
    fields = {name: as_text(value) for name, value in zip(JOB_FIELDS, values, strict=True)}
    return {
        "job_id": fields["id"],
        "project": fields["project"],
        "kind": fields["kind"],
        "memory_id": fields["memory_id"] or None,
        "status": fields["status"],
        "results": read_json(fields["results"] or "[]"),
        "error": read_json(fields["error"]) if fields["error"] else None,
        "attempts": int(fields["attempts"] or 0),
        "submitted_at": _moment(fields["submitted"]),
        "started_at": _moment(fields["started"]),
        "finished_at": _moment(fields["finished"]),
        "next_attempt_at": _moment(fields["next_attempt"]),
        "degraded": bool(fields["degraded"]),
        "degraded_reason": fields["degraded"] or None,
        "usage": read_json(fields["usage"]) if fields["usage"] else None,
        "prompts": read_json(fields["prompts"] or "{}"),
        "items": int(fields["items"] or 0),
        "chunks": int(fields["chunks"] or 0),
        "done": int(fields["done"] or 0),
    }


def job_info(document: Mapping[str, Any]) -> JobInfo:
    """The document of `job_document` as one line of a listing."""
    return JobInfo.model_validate(document)


def dead_letter(values: Sequence[Any]) -> DeadLetter | None:
    """The values of DEAD_LETTER_FIELDS; None when the record is no dead letter (any more)."""
    *job, began, payload = values
    document = job_document(job)
    if document is None or payload is None or not JobStatus(document["status"]).is_final:
        return None
    return DeadLetter.model_validate(
        {
            **document,
            "first_attempt_at": document["started_at"],
            "last_attempt_at": _moment(as_text(began)),
            "payload": read_json(payload)["operations"],
        }
    )


def conflict(conflict_id: str, arose: int, raw: Any, values: Sequence[Any]) -> Conflict | None:
    """A waiting conflict, from its document and the memory as it is; None when there is none any more.

    Args:
        conflict_id: its id.
        arose: when, in microseconds.
        raw: the document `reconcile.conflict_document` or `held_delete` made.
        values: of MEMORY_FIELDS.
    """
    memory = memory_document(values)
    if raw is None or memory is None:
        return None
    document = read_json(raw)
    ours = document.get("metadata", {})
    proposal = Event(document.get("op", "update").upper())
    text_waits = "memory" in document or proposal is Event.DELETE
    return Conflict.model_validate(
        {
            **document,
            "id": conflict_id,
            "memory_id": memory["id"],
            "submitted_at": _moment(str(document["submitted"])),
            "created_at": _moment(str(arose)),
            "proposal": proposal,
            "base": document.get("base_memory"),
            "ours": document.get("memory"),
            "theirs": memory["memory"] if text_waits else None,
            "base_metadata": document.get("base_metadata", {}),
            "our_metadata": ours,
            "their_metadata": {key: memory["metadata"].get(key) for key in ours},
            "current_version": int(memory["version"]),
            "prompt_version": document.get("prompt"),
        }
    )


def metadata_tag(key: str, value: Any) -> str | None:
    """The index tag by which a metadata value is found; None for values that cannot be filtered on."""
    if value is None or isinstance(value, dict | list | tuple):
        return None
    # The index drops white space at a tag's ends; so a key that begins with it is quoted, and then also one that
    # begins with a quote, to stay another one.
    name = json.dumps(key, ensure_ascii=False) if key[:1].isspace() or key.startswith('"') else key
    tag = f"{name}={json.dumps(value, ensure_ascii=False)}"
    return tag if len(tag) <= MAX_TAG_CHARS else None


def metadata_tags(metadata: Mapping[str, Any]) -> str:
    """The `metadata_tags` field that follows from a memory's metadata."""
    tags = (metadata_tag(key, value) for key, value in metadata.items())
    return TAG_SEPARATOR.join(tag for tag in tags if tag is not None)


def expires_ms(expires_at: str) -> str:
    """The `expires_ms` field (milliseconds since the epoch) that follows from `expires_at`; empty when it is."""
    return str(microseconds_of(datetime.fromisoformat(expires_at)) // 1_000) if expires_at else ""


def text_hash(text: str) -> str:
    """SHA-256 of the text, in hexadecimal: the memory's `hash` and the embedding cache's key."""
    return hashlib.sha256(text.encode()).hexdigest()
