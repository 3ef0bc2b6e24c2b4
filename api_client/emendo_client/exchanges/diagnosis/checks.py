"""The checks of one memory: hash, vectors, index and history agree. Pure, without Redis.

A damaged value becomes a finding, never an exception.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from emendo_client.errors import ConfigurationError
from emendo_client.exchanges.diagnosis.models import REMEDIES, Check, Diagnosis, Finding
from emendo_client.models import Event, HistoryEntry
from emendo_client.providers.embeddings.vectors import elements
from emendo_client.records.derived_fields import expires_ms, metadata_tags
from emendo_client.records.history import history_entry
from emendo_config.embedding_space import VECTOR_PREFIX
from emendo_config.spaces.index import TAG_SEPARATOR
from emendo_config.spaces.registry import SpaceRecord, SpaceState, newest_listed
from emendo_config.store.memory_fields import COMMIT_FIELD
from emendo_config.store.pipeline import as_text

_IsValid = Callable[[bytes], bool]


@dataclass(frozen=True, slots=True)
class Reading:
    """The stored state of one memory, read at one moment.

    Attributes:
        fields: the hash; empty if the key is missing.
        entries: the history stream, oldest first: id and fields of each entry.
        indexed: True when the index behind the alias holds the memory.
        memory_type, history_type: Redis types of the two keys; "none" for a missing key.
    """

    memory_id: str
    fields: Mapping[str, bytes]
    entries: Sequence[tuple[bytes, Mapping[bytes, bytes]]]
    indexed: bool
    memory_type: str = "hash"
    history_type: str = "stream"


def diagnose(reading: Reading, spaces: Sequence[SpaceRecord]) -> Diagnosis:
    """Makes every check of one memory.

    Args:
        reading: its stored state.
        spaces: the embedding spaces of its store.
    """
    fields = reading.fields
    return Diagnosis(
        memory_id=reading.memory_id,
        project=fields["project"].decode(errors="replace") if "project" in fields else None,
        version=_version(fields),
        is_deleted=fields.get("is_deleted") == b"1",
        erased=_is_erased(fields),
        findings=list(_findings(reading, spaces)),
    )


def _findings(reading: Reading, spaces: Sequence[SpaceRecord]) -> Iterator[Finding]:
    fields = reading.fields
    erased = _is_erased(fields)
    if reading.memory_type != "hash":
        yield _finding(Check.FIELDS, False, f"a key of type {reading.memory_type}", "a hash")
    else:
        yield _required_fields(reading, _ERASED_FIELDS if erased else _FIELDS)
    if erased:
        yield _erased(fields)
    elif fields:
        yield from _text_hash(fields)
        yield _finding(Check.INDEX, reading.indexed, "in the index" if reading.indexed else "not there", "in the index")
        yield from _embedding(fields, spaces)
        yield from _derived(fields)
    finding, entries = _history(reading)
    yield finding
    if entries:
        yield from _versions(entries, _version(fields), _start(reading))
    if entries and erased:
        yield _erased_history(entries)
    elif entries and fields:
        yield _newest_commit(reading, entries[-1].version)
        yield from _newest(fields, entries)


def _finding(check: Check, ok: bool, found: str, expected: str) -> Finding:
    return Finding(check=check, ok=ok, found=found, expected=expected, remedy="" if ok else REMEDIES[check])


# The hash.


def _is_erased(fields: Mapping[str, bytes]) -> bool:
    """True for a tombstone: the memory was deleted for good, and only its existence is recorded."""
    return fields.get("erased") == b"1"


def _is_text(value: bytes) -> bool:
    try:
        return bool(value.decode())
    except UnicodeDecodeError:
        return False


def _is_moment(value: bytes) -> bool:
    try:
        return datetime.fromisoformat(value.decode()).tzinfo is not None
    except ValueError:
        return False


def _is_version(value: bytes) -> bool:
    return re.fullmatch(rb"[1-9][0-9]{0,17}", value) is not None


def _is_mark(value: bytes) -> bool:
    return value in (b"0", b"1")


def _json(value: bytes) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def _is_object(value: bytes) -> bool:
    return isinstance(_json(value), dict)


def _is_array(value: bytes) -> bool:
    return isinstance(_json(value), list)


_ERASED_FIELDS: Mapping[str, _IsValid] = {
    "id": _is_text,
    "project": _is_text,
    "version": _is_version,
    "is_deleted": _is_mark,
}
_FIELDS: Mapping[str, _IsValid] = {
    **_ERASED_FIELDS,
    "memory": _is_text,
    "hash": _is_text,
    "created_at": _is_moment,
    "updated_at": _is_moment,
}
_SCOPE = ("user_id", "agent_id", "run_id")
_OPTIONAL_FIELDS: Mapping[str, _IsValid] = {
    **dict.fromkeys((*_SCOPE, "actor_id", "role"), _is_text),
    "metadata": _is_object,
    "stamps": _is_array,
    "expires_at": _is_moment,
}


def _required_fields(reading: Reading, required: Mapping[str, _IsValid]) -> Finding:
    """The fields that every reader and worker needs are present and well formed."""
    fields = reading.fields
    validators = {**_OPTIONAL_FIELDS, **required}
    missing = [name for name in required if name not in fields]
    if not _is_erased(fields) and not any(name in fields for name in _SCOPE):
        missing.append(" or ".join(_SCOPE))
    malformed = [name for name, is_valid in validators.items() if name in fields and not is_valid(fields[name])]
    if "id" in fields and fields["id"] != reading.memory_id.encode() and "id" not in malformed:
        malformed.append("id (it is not the id in the key)")
    problems = [
        f"{what}: {', '.join(names)}" for what, names in (("missing", missing), ("malformed", malformed)) if names
    ]
    return _finding(Check.FIELDS, not problems, "; ".join(problems) or "complete and readable", "complete and readable")


def _text_hash(fields: Mapping[str, bytes]) -> Iterator[Finding]:
    if "memory" in fields and "hash" in fields:
        stored, right = fields["hash"], hashlib.sha256(fields["memory"]).hexdigest()
        shown = stored.decode() if re.fullmatch(rb"[0-9a-f]{64}", stored) else f"{len(stored)} bytes that are no hash"
        yield _finding(Check.TEXT_HASH, stored == right.encode(), f"SHA-256 {shown}", f"SHA-256 {right}")


def _embedding(fields: Mapping[str, bytes], spaces: Sequence[SpaceRecord]) -> Iterator[Finding]:
    """Vectors in every complete space and in every space that the memory lists, and in no other space."""
    stored = fields.get("embedding_space")
    listed = set(as_text(stored).split(",")) if stored and _is_text(stored) else set()
    expected = [space for space in spaces if space.state is SpaceState.LIVE or space.name in listed]
    present = sorted(name for name in fields if name.startswith(VECTOR_PREFIX))
    wanted = sorted(space.field for space in expected)
    searched = sorted(space.field for space in spaces if space.field in fields)
    yield _finding(Check.VECTOR, searched == wanted, ", ".join(present) or "no vector", ", ".join(wanted))
    for space in expected:
        if space.field in fields:
            yield from _vector(fields[space.field], space)
    names = ",".join(sorted(space.name for space in expected))
    yield _finding(Check.EMBEDDING_SPACE, stored == names.encode(), _named(stored), names)
    newest = newest_listed(spaces, [space.name for space in expected])
    if newest is not None:
        stored, model = fields.get("embedding_model"), newest.space.model
        yield _finding(Check.EMBEDDING_MODEL, stored == model.encode(), _named(stored), model)


def _vector(vector: bytes, space: SpaceRecord) -> Iterator[Finding]:
    expected = f"{space.vector_bytes} bytes: {space.space.dimensions} dimensions"
    is_right = len(vector) == space.vector_bytes
    yield _finding(Check.VECTOR_LENGTH, is_right, f"{len(vector)} bytes", expected)
    if is_right:
        values = elements(vector, space.datatype)
        infinite = sum(not math.isfinite(value) for value in values)
        found = f"{infinite} values are not finite" if any(values) else "all values are 0"
        yield _finding(Check.VECTOR_FINITE, not infinite and any(values), found, "finite values, and not all 0")


def _derived(fields: Mapping[str, bytes]) -> Iterator[Finding]:
    """Fields that repeat another field in the form the index needs."""
    metadata = _json(fields.get("metadata", b"{}"))
    if isinstance(metadata, dict):
        stored, right = fields.get("metadata_tags", b""), metadata_tags(metadata).encode(errors="surrogatepass")
        yield _finding(Check.METADATA_TAGS, stored == right, _tags(stored), _tags(right))
    expires_at = fields.get("expires_at")
    if expires_at is None or _is_moment(expires_at):
        due = expires_ms(as_text(expires_at))
        stored = fields.get("expires_ms", b"")
        shown = stored.decode() if re.fullmatch(rb"-?[0-9]{1,20}", stored) else "not a number"
        yield _finding(Check.EXPIRES_MS, stored == due.encode(), shown if stored else "none", due or "none")


def _erased(fields: Mapping[str, bytes]) -> Finding:
    """A tombstone holds no content and no owner."""
    content = ("memory", "hash", "metadata", "metadata_tags", *_SCOPE)
    left = [name for name in fields if name in content or name.startswith(VECTOR_PREFIX)]
    if fields.get("is_deleted") != b"1":
        left.append("is_deleted is not 1")
    return _finding(Check.ERASED, not left, ", ".join(sorted(left)) or "no content", "no content")


# The history.


def _history(reading: Reading) -> tuple[Finding, list[HistoryEntry]]:
    """The entries, oldest first; none if one of them is unreadable."""
    if reading.history_type not in ("stream", "none"):
        return _finding(Check.HISTORY, False, f"a key of type {reading.history_type}", "a stream"), []
    if not reading.entries:
        return _finding(Check.HISTORY, False, "no entries", "readable entries"), []
    entries = []
    for number, (entry_id, raw) in enumerate(reading.entries, 1):
        try:
            entries.append(history_entry(reading.memory_id, entry_id, raw))
        except (ValueError, RecursionError, ConfigurationError):
            found = f"entry {number} of {len(reading.entries)} cannot be read"
            return _finding(Check.HISTORY, False, found, "readable entries"), []
    return _finding(Check.HISTORY, True, f"{len(entries)} entries", "readable entries"), entries


def _start(reading: Reading) -> int:
    """The first version that the history is to have: 1, unless commits have removed older entries."""
    told = (raw.get(b"history_start", b"1") for _, raw in reading.entries)
    return max(int(start) if _is_version(start) else 1 for start in told)


def _versions(entries: Sequence[HistoryEntry], version: int | None, start: int) -> Iterator[Finding]:
    end = start + len(entries) - 1
    wrong = next(((n, entry) for n, entry in enumerate(entries, 1) if entry.version != start + n - 1), None)
    found = f"{start} to {end}" if wrong is None else f"version {wrong[1].version} at entry {wrong[0]}"
    yield _finding(Check.HISTORY_VERSIONS, wrong is None, found, f"{start} to {end}, without gaps")
    if version is not None:
        last = entries[-1].version
        yield _finding(Check.HISTORY_END, last == version, f"ends at version {last}", f"ends at version {version}")


def _newest_commit(reading: Reading, newest: int) -> Finding:
    """One commit made the memory's version and the entry of that version; an older release names none there."""
    stored, made = reading.fields.get(COMMIT_FIELD), reading.entries[-1][1].get(COMMIT_FIELD.encode())
    ok = made in (None, stored) or _version(reading.fields) != newest
    return _finding(Check.NEWEST_COMMIT, ok, _named(stored), _named(stored if made is None else made))


def _newest(fields: Mapping[str, bytes], entries: Sequence[HistoryEntry]) -> Iterator[Finding]:
    """The memory agrees with its newest applied entry; DELETE and EXPIRE leave text and metadata unchanged."""
    applied = [entry for entry in entries if entry.event is not Event.SUPERSEDED]
    if not applied:
        return
    entry = applied[-1]
    hides = entry.event in (Event.DELETE, Event.EXPIRE)
    text = entry.old_memory if hides else entry.new_memory
    metadata = (entry.old_metadata if hides else entry.new_metadata) or {}
    if "memory" in fields:
        right = (text or "").encode()
        yield _finding(Check.NEWEST_TEXT, fields["memory"] == right, _digest(fields["memory"]), _digest(right))
    stored = _json(fields.get("metadata", b"{}"))
    if isinstance(stored, dict):
        yield _finding(Check.NEWEST_METADATA, stored == metadata, _digest_of(stored), _digest_of(metadata))
    if _is_mark(fields.get("is_deleted", b"")):
        deleted = fields["is_deleted"] == b"1"
        yield _finding(Check.NEWEST_DELETED, deleted == entry.is_deleted, _state(deleted), _state(entry.is_deleted))


def _erased_history(entries: Sequence[HistoryEntry]) -> Finding:
    told = sum(
        any(part is not None for part in (entry.old_memory, entry.new_memory, entry.old_metadata, entry.new_metadata))
        for entry in entries
    )
    return _finding(Check.ERASED_HISTORY, not told, f"{told} entries with content", "0 entries with content")


# Values as findings show them: without the memory's text.


def _version(fields: Mapping[str, bytes]) -> int | None:
    version = fields.get("version", b"")
    return int(version) if _is_version(version) else None


def _digest(value: bytes) -> str:
    return f"{len(value)} bytes, SHA-256 {hashlib.sha256(value).hexdigest()[:16]}…" if value else "nothing"


def _digest_of(metadata: Mapping[str, Any]) -> str:
    return f"{len(metadata)} keys, {_digest(json.dumps(metadata, sort_keys=True).encode())}"


def _tags(value: bytes) -> str:
    return f"{value.count(TAG_SEPARATOR.encode()) + 1} tags, {_digest(value)}" if value else "no tags"


def _named(value: bytes | None) -> str:
    """A name as it stands; only the length of a value that is not a name."""
    if value is None:
        return "none"
    return value.decode() if re.fullmatch(rb"[\w./:@+,-]{1,512}", value) else f"{len(value)} bytes that are no name"


def _state(deleted: bool) -> str:
    return "deleted" if deleted else "not deleted"
