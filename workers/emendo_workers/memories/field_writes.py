"""Writes to single fields, where the newest submission wins: the text, and each metadata key. Pure."""

from __future__ import annotations

from typing import Any

from emendo_client.errors import ValidationError
from emendo_client.models import Event
from emendo_client.records.derived_fields import text_hash
from emendo_workers.memories.preconditions import superseded
from emendo_workers.memories.state import MemoryState, metadata_json


def write_newest(
    after: MemoryState,
    text: str | None,
    metadata: dict[str, Any] | None,
    submitted: int,
    *,
    metadata_limit: int | None,
    reject: bool = False,
) -> Event:
    """Sets the fields that no newer submission has set.

    Args:
        after: the state to change; its version is raised already.
        text: None leaves it.
        metadata: keys to set; None as a value removes one.
        submitted: the submission's time, in microseconds.
        metadata_limit: see `set_fields`.
        reject: refuse the submission if it is late for any field, or the memory is deleted.

    Returns:
        UPDATE, or SUPERSEDED when newer submissions have set every field.

    Raises:
        ConflictError: (SUPERSEDED) the submission is to be refused.
        ValidationError: the metadata would be too large.
    """
    write_times = after.write_times
    patch = metadata or {}
    fresh = {key: value for key, value in patch.items() if submitted > write_times.of_key(key)}
    takes_text = text is not None and submitted > write_times.of_text()
    asked = len(patch) + (text is not None)
    applies = len(fresh) + takes_text
    if reject and (applies < asked or after.is_deleted):
        raise superseded(after.version - 1)
    if asked and not applies:
        return Event.SUPERSEDED
    # Only submissions older than the delete reach a deleted memory: they change what a restore would bring back, and
    # leave the memory deleted.
    set_fields(after, text if takes_text else None, fresh, submitted, metadata_limit)
    return Event.UPDATE


def set_fields(
    after: MemoryState, text: str | None, metadata: dict[str, Any], submitted: int, metadata_limit: int | None
) -> None:
    """Sets text and metadata keys, and records the submission as their writer.

    Args:
        metadata_limit: bytes of JSON the whole metadata may have; None for no limit.

    Raises:
        ValidationError: the metadata would be larger.
    """
    write_times = after.write_times
    if text is not None:
        after.memory, after.hash = text, text_hash(text)
        write_times.text = max(write_times.text, submitted)
    for key, value in metadata.items():
        write_times.metadata[key] = max(write_times.of_key(key), submitted)
        if value is None:
            after.metadata.pop(key, None)
        else:
            after.metadata[key] = value
    if metadata and metadata_limit is not None and len(metadata_json(after.metadata).encode()) > metadata_limit:
        raise ValidationError(
            f"the merged metadata would be over {metadata_limit} bytes",
            suggestion="remove keys by setting them to None, or raise EMENDO_MAX_METADATA_BYTES",
        )
