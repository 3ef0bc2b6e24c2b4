"""A memory's hash and the search replies that hold its fields, read into `Memory` and `SearchHit`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from emendo_client.models import Memory, SearchHit
from emendo_config.json_codec import read_json
from emendo_config.store.memory_fields import MEMORY_FIELDS
from emendo_config.store.pipeline import as_text

logger = logging.getLogger(__name__)

# The errors that a damaged memory, or a damaged entry of its history, can raise when it is read.
DAMAGES = (ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError)
# Each reply repeats every field name for every memory; a look-up is faster than decoding the name each time.
_FOUND = {name.encode(): name for name in (*MEMORY_FIELDS, "distance")}


def memory_document(values: Sequence[Any]) -> dict[str, Any] | None:
    """The values of MEMORY_FIELDS as a document for `Memory`; None when the hash is missing or erased."""
    return _document(
        {name: as_text(value) for name, value in zip(MEMORY_FIELDS, values, strict=True) if value is not None}
    )


def _document(fields: dict[str, Any]) -> dict[str, Any] | None:
    """Turns the present fields of a hash into a document for `Memory`."""
    if "id" not in fields or "hash" not in fields:
        return None
    fields["metadata"] = read_json(fields.get("metadata", "{}"))
    fields["is_deleted"] = fields.get("is_deleted") == "1"
    return fields


def visible_memory(values: Sequence[Any], project: str, now: float, *, include_deleted: bool) -> Memory | None:
    """The memory, unless it is another project's, erased, or (without `include_deleted`) deleted or expired.

    Args:
        values: of MEMORY_FIELDS.
        project: the reader's.
        now: seconds since the epoch, by Redis' clock.
        include_deleted: True to see it all the same.
    """
    document = memory_document(values)
    if document is None or document["project"] != project:
        return None
    memory = Memory.model_validate(document)
    gone = memory.is_deleted or (memory.expires_at is not None and memory.expires_at.timestamp() <= now)
    return None if gone and not include_deleted else memory


def readable_memory(values: Sequence[Any], project: str, now: float, *, include_deleted: bool) -> Memory | None:
    """One memory of many, as `visible_memory` gives it; None for a damaged one, which must not hide the others."""
    try:
        return visible_memory(values, project, now, include_deleted=include_deleted)
    except DAMAGES:
        note_damage(as_text(values[0]))
        return None


def note_damage(name: str) -> None:
    """Logs that a damaged memory is left out; the name is its id or its key."""
    logger.warning("a damaged memory is left out; emendo doctor --deep names it", extra={"memory": name})


def admitted_id(row: Sequence[Any], admits: Callable[[Mapping[str, Any]], bool]) -> str | None:
    """The id of a memory that a filter admits, from a row of FT.AGGREGATE (name, value, …); else None."""
    fields: dict[str, Any] = {as_text(name): as_text(value) for name, value in zip(row[::2], row[1::2], strict=True)}
    if "id" not in fields:  # removed, or erased, after the index found it
        return None
    try:
        fields["metadata"] = read_json(fields.get("metadata") or "{}")
        return str(fields["id"]) if admits(fields) else None
    except DAMAGES:
        note_damage(fields["id"])
        return None


def memories_found(
    reply: Sequence[Any],
    *,
    scored: bool,
    metric: str = "cosine",
    admits: Callable[[Mapping[str, Any]], bool] | None = None,
) -> tuple[int, list[Any]]:
    """An FT.SEARCH reply (total, then key and fields alternating) as the total and Memory or SearchHit objects.

    Args:
        reply: the reply to a search that returns MEMORY_FIELDS and, if scored, `distance`.
        scored: True for SearchHit.
        metric: the metric of the distances.
        admits: leaves out what it is False for; default: nothing.
    """
    found: list[Any] = []
    for key, flat in zip(reply[1::2], reply[2::2], strict=True):
        try:
            memory = _found(flat, scored=scored, metric=metric, admits=admits)
        except DAMAGES:
            note_damage(as_text(key))
            continue
        if memory is not None:
            found.append(memory)
    return int(reply[0]), found


def _found(
    flat: Sequence[Any], *, scored: bool, metric: str, admits: Callable[[Mapping[str, Any]], bool] | None
) -> Memory | None:
    """One row; None when it was removed after the index found it and before its fields were read, or is left out."""
    pairs = zip(flat[::2], flat[1::2], strict=True)
    document = _document({_FOUND[name]: value.decode() for name, value in pairs if name in _FOUND})
    if document is None or (admits is not None and not admits(document)):
        return None
    if not scored:
        return Memory.model_validate(document)
    document["score"] = _similarity(float(document.pop("distance")), metric)
    return SearchHit.model_validate(document)


def _similarity(distance: float, metric: str) -> float:
    """Higher for more similar texts; Redis gives squared distances for l2, and 1 - product for the others."""
    if metric == "l2":
        return 1.0 / (1.0 + distance)
    # Redis computes in single precision: of a text and itself the cosine is 1 give or take a ten-millionth.
    return min(1.0, round(1.0 - distance, 6)) if metric == "cosine" else 1.0 - distance
