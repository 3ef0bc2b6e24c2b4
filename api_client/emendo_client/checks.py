"""Whether one memory is whole: hash, vector, index and history agree. Pure, without Redis.

Nothing here trusts what it reads: a damaged value is a finding, never an exception.
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

from emendo_client import records
from emendo_client.diagnosis import MENDS, Check, Diagnosis, Finding
from emendo_client.embeddings.vectors import elements
from emendo_client.models import Event, HistoryEntry
from emendo_config.index import TAG_SEPARATOR
from emendo_config.redis_io import as_text
from emendo_config.registry import SpaceRecord, SpaceState, newest_listed
from emendo_config.spaces import VECTOR_PREFIX

_Form = Callable[[bytes], bool]


@dataclass(frozen=True, slots=True)
class Reading:
    """What Redis holds of one memory, read at one moment.

    Attributes:
        fields: the hash, empty when there is none.
        entries: the history stream, id and fields of each entry, oldest first.
        indexed: whether the index behind the alias has the memory's document.
        memory_type, history_type: the Redis types of the two keys, "none" for one that is not there.
    """

    memory_id: str
    fields: Mapping[str, bytes]
    entries: Sequence[tuple[bytes, Mapping[bytes, bytes]]]
    indexed: bool
    memory_type: str = "hash"
    history_type: str = "stream"


def diagnose(reading: Reading, spaces: Sequence[SpaceRecord]) -> Diagnosis:
    """Looks at everything there is to check on one memory.

    Args:
        reading: what Redis holds of it.
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
        yield _form(reading, _ERASED_FORMS if erased else _FORMS)
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
        yield from _versions(entries, _version(fields))
    if entries and erased:
        yield _erased_history(entries)
    elif entries and fields:
        yield from _newest(fields, entries)


def _finding(check: Check, ok: bool, found: str, expected: str) -> Finding:
    return Finding(check=check, ok=ok, found=found, expected=expected, mend="" if ok else MENDS[check])


# The hash.


def _is_erased(fields: Mapping[str, bytes]) -> bool:
    """A tombstone: the memory was deleted for good, only that it was there is kept."""
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


_ERASED_FORMS: Mapping[str, _Form] = {
    "id": _is_text,
    "project": _is_text,
    "version": _is_version,
    "is_deleted": _is_mark,
}
_FORMS: Mapping[str, _Form] = {
    **_ERASED_FORMS,
    "memory": _is_text,
    "hash": _is_text,
    "created_at": _is_moment,
    "updated_at": _is_moment,
}
_SCOPE = ("user_id", "agent_id", "run_id")
_OPTIONAL_FORMS: Mapping[str, _Form] = {
    **dict.fromkeys((*_SCOPE, "actor_id", "role"), _is_text),
    "metadata": _is_object,
    "stamps": _is_array,
    "expires_at": _is_moment,
}


def _form(reading: Reading, required: Mapping[str, _Form]) -> Finding:
    """What every reader and worker takes for granted: the fields are there and can be read."""
    fields = reading.fields
    forms = {**_OPTIONAL_FORMS, **required}
    missing = [name for name in required if name not in fields]
    if not _is_erased(fields) and not any(name in fields for name in _SCOPE):
        missing.append(" or ".join(_SCOPE))
    malformed = [name for name, is_right in forms.items() if name in fields and not is_right(fields[name])]
    if "id" in fields and fields["id"] != reading.memory_id.encode() and "id" not in malformed:
        malformed.append("id (it is not that of the key)")
    problems = [
        f"{what}: {', '.join(names)}" for what, names in (("missing", missing), ("malformed", malformed)) if names
    ]
    return _finding(Check.FIELDS, not problems, "; ".join(problems) or "complete and readable", "complete and readable")


def _text_hash(fields: Mapping[str, bytes]) -> Iterator[Finding]:
    if "memory" in fields and "hash" in fields:
        stored, right = fields["hash"], hashlib.sha256(fields["memory"]).hexdigest()
        shown = stored.decode() if re.fullmatch(rb"[0-9a-f]{64}", stored) else f"{len(stored)} bytes that are none"
        yield _finding(Check.TEXT_HASH, stored == right.encode(), f"SHA-256 {shown}", f"SHA-256 {right}")


def _embedding(fields: Mapping[str, bytes], spaces: Sequence[SpaceRecord]) -> Iterator[Finding]:
    """A vector in each space that is complete or that the memory lists, and in no other one of the store's."""
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
        infinite = sum(not math.isfinite(value) for value in elements(vector, space.datatype))
        yield _finding(
            Check.VECTOR_FINITE, not infinite, f"{infinite} values are not finite", "0 values are not finite"
        )


def _derived(fields: Mapping[str, bytes]) -> Iterator[Finding]:
    """Fields that only repeat another one in the form the index needs."""
    metadata = _json(fields.get("metadata", b"{}"))
    if isinstance(metadata, dict):
        stored, right = fields.get("metadata_tags", b""), records.metadata_tags(metadata).encode(errors="surrogatepass")
        yield _finding(Check.METADATA_TAGS, stored == right, _tags(stored), _tags(right))
    expires_at = fields.get("expires_at")
    if expires_at is None or _is_moment(expires_at):
        due = records.expires_ms(as_text(expires_at))
        stored = fields.get("expires_ms", b"")
        shown = stored.decode() if re.fullmatch(rb"-?[0-9]{1,20}", stored) else "not a number"
        yield _finding(Check.EXPIRES_MS, stored == due.encode(), shown if stored else "none", due or "none")


def _erased(fields: Mapping[str, bytes]) -> Finding:
    """A tombstone keeps nothing of what the memory said, and of whom."""
    content = ("memory", "hash", "metadata", "metadata_tags", *_SCOPE)
    left = [name for name in fields if name in content or name.startswith(VECTOR_PREFIX)]
    if fields.get("is_deleted") != b"1":
        left.append("is_deleted is not 1")
    return _finding(Check.ERASED, not left, ", ".join(sorted(left)) or "no content", "no content")


# The history.


def _history(reading: Reading) -> tuple[Finding, list[HistoryEntry]]:
    """The entries, oldest first; none when one of them cannot be read."""
    if reading.history_type not in ("stream", "none"):
        return _finding(Check.HISTORY, False, f"a key of type {reading.history_type}", "a stream"), []
    if not reading.entries:
        return _finding(Check.HISTORY, False, "no entries", "readable entries"), []
    entries = []
    for number, (entry_id, raw) in enumerate(reading.entries, 1):
        try:
            entries.append(records.history_entry(reading.memory_id, entry_id, raw))
        except (ValueError, RecursionError):
            found = f"entry {number} of {len(reading.entries)} cannot be read"
            return _finding(Check.HISTORY, False, found, "readable entries"), []
    return _finding(Check.HISTORY, True, f"{len(entries)} entries", "readable entries"), entries


def _versions(entries: Sequence[HistoryEntry], version: int | None) -> Iterator[Finding]:
    count = len(entries)
    wrong = next(((number, entry) for number, entry in enumerate(entries, 1) if entry.version != number), None)
    found = f"1 to {count}" if wrong is None else f"version {wrong[1].version} at entry {wrong[0]}"
    yield _finding(Check.HISTORY_VERSIONS, wrong is None, found, f"1 to {count}, without gaps")
    if version is not None:
        last = entries[-1].version
        yield _finding(Check.HISTORY_END, last == version, f"ends at version {last}", f"ends at version {version}")


def _newest(fields: Mapping[str, bytes], entries: Sequence[HistoryEntry]) -> Iterator[Finding]:
    """The memory as the newest applied entry left it; one that hides the memory leaves text and metadata alone."""
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


# How values are shown without saying what they say.


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
    """A name, which may be shown; anything else in its place only by its length."""
    if value is None:
        return "none"
    return value.decode() if re.fullmatch(rb"[\w./:@+,-]{1,512}", value) else f"{len(value)} bytes that are no name"


def _state(deleted: bool) -> str:
    return "deleted" if deleted else "not deleted"
