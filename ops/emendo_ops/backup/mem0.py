"""Reads memories of mem0: the answers of its `get_all`, and its exports, as JSON or as JSON Lines."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import IO, Any

from emendo_client.errors import EmendoError, ValidationError
from emendo_client.models import Event
from emendo_client.records.derived_fields import text_hash
from emendo_client.requests import content, validation
from emendo_client.times import iso, microseconds_of
from emendo_config import Settings
from emendo_config.errors import ConfigurationError
from emendo_config.json_codec import compact_json, read_json
from emendo_config.store.formats import version_entry_id
from emendo_ops.backup.memory import Entry, FileMemory, Refused
from emendo_workers.memories.state import MemoryState, WriteTimes, metadata_json

# Ids of memories whose own id is no id here; a second import makes the same ones.
_NAMESPACE = uuid.UUID("0c0e3d52-7a54-5a0e-9a5c-4f5d0c3b8a11")
# Names of lists in a document around the memories, and of the text in a memory.
_LISTS = ("results", "memories")
_TEXTS = ("memory", "text", "data")
# mem0's own fields of a memory, which are metadata here under names that the gateway's mem0 surface knows.
_APP, _CATEGORY = "app_id", "category"
_JOB = "mem0-import"
_ID = re.compile(validation.ID_FORM)
# The last moment of a day: a memory lasts to the end of its expiration date.
_END_OF_DAY = "T23:59:59.999999+00:00"


def records(file: IO[bytes]) -> list[Any]:
    """The memories of a file, as they stand.

    Raises:
        ConfigurationError: it has none of the known forms.
    """
    raw = file.read()
    try:
        found = read_json(raw)
    except ValueError:
        return [_line(line) for line in raw.splitlines() if line.strip()]
    for name in _LISTS:
        if isinstance(found, dict) and isinstance(found.get(name), list):
            return list(found[name])
    if isinstance(found, list):
        return found
    if isinstance(found, dict) and any(name in found for name in _TEXTS):
        return [found]
    raise ConfigurationError(
        "the file has none of mem0's forms", suggestion='use a list, {"results": [...]}, or one memory a line'
    )


def memories(found: list[Any], settings: Settings, project: str, now: float) -> Iterator[FileMemory | Refused]:
    """The memories as adds without inference; `line` is the place in the file, from 1.

    Args:
        found: from `records`.
        settings: their limits hold.
        project: gets the memories.
        now: seconds since the epoch, by the data Redis; no time is later.
    """
    for number, document in enumerate(found, 1):
        try:
            if not isinstance(document, Mapping):
                raise ValidationError("it is no JSON object")
            yield _memory(number, document, settings, project, int(now * 1_000_000))
        except EmendoError as error:
            yield Refused(number, error.message)


def _line(raw: bytes) -> Any:
    try:
        return read_json(raw)
    except ValueError:
        return None


def _memory(line: int, document: Mapping[str, Any], settings: Settings, project: str, now: int) -> FileMemory:
    text = content.text(next((document[name] for name in _TEXTS if document.get(name)), None), "memory", settings)
    owner = validation.scope(document.get("user_id"), document.get("agent_id"), document.get("run_id"), required=True)
    metadata = content.metadata(_metadata(document), settings, none_removes=False) or {}
    given = document.get("role")
    role = given if given in validation.ROLES else ""
    actor = validation.scope_id(document.get("actor_id") or None, "actor_id") or ""
    updated = _moment(document, "updated_at", "created_at", now=now)
    created = min(_moment(document, "created_at", "updated_at", now=now), updated)
    expires_at = _expiry(document) or ""
    # The same memory has the same commit in every import.
    told = compact_json([text, owner, metadata, role, actor, expires_at])
    state = MemoryState(
        id=_id(document, told),
        project=project,
        memory=text,
        user_id=owner.get("user_id", ""),
        agent_id=owner.get("agent_id", ""),
        run_id=owner.get("run_id", ""),
        actor_id=actor,
        role=role,
        metadata=metadata,
        hash=text_hash(text),
        version=1,
        created_at=iso(created),
        updated_at=iso(updated),
        expires_at=expires_at,
        write_times=WriteTimes(base=updated),
        commit_id=hashlib.sha256(told.encode()).hexdigest()[:16],
    )
    return FileMemory(line, project, state, [_entry(state)])


def _metadata(document: Mapping[str, Any]) -> Any:
    metadata = document.get("metadata")
    if not isinstance(metadata, Mapping):
        return metadata
    categories = document.get("categories")
    named = dict(metadata)
    if isinstance(categories, list) and categories:
        named.setdefault(_CATEGORY, categories[0])
        if categories[1:]:
            named.setdefault("categories", categories)
    if document.get(_APP):
        named.setdefault(_APP, document[_APP])
    return named


def _id(document: Mapping[str, Any], told: str) -> str:
    given = document.get("id")
    if isinstance(given, str) and _ID.fullmatch(given):
        return given
    return str(uuid.uuid5(_NAMESPACE, told if given is None else str(given)))


def _moment(document: Mapping[str, Any], *names: str, now: int) -> int:
    """The first of these times that is there, in microseconds; a time without a zone is in UTC."""
    for name in names:
        given = document.get(name)
        if given is None:
            continue
        try:
            moment = datetime.fromisoformat(given)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            return max(0, min(now, microseconds_of(moment.astimezone(UTC))))
        except (ValueError, TypeError, OverflowError):
            raise ValidationError(f"{name} is no ISO-8601 time") from None
    return now


def _expiry(document: Mapping[str, Any]) -> str | None:
    given = document.get("expiration_date") or document.get("expires_at")
    if isinstance(given, str) and len(given) == len("2026-01-31"):
        try:
            return f"{date.fromisoformat(given).isoformat()}{_END_OF_DAY}"
        except ValueError:
            raise ValidationError("expiration_date is no date") from None
    return validation.expiry(given)


def _entry(state: MemoryState) -> Entry:
    fields = {
        "id": version_entry_id(1),
        "version": "1",
        "event": Event.ADD.value,
        "created_at": state.created_at,
        "updated_at": state.updated_at,
        "is_deleted": "0",
        "job_id": _JOB,
        "new_memory": state.memory,
        "new_metadata": metadata_json(state.metadata),
        "commit_id": state.commit_id,
        "actor_id": state.actor_id,
        "role": state.role,
    }
    return {name: value for name, value in fields.items() if value}
