"""The state of a memory, as decisions read and change it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from emendo_client.times import microseconds_of
from emendo_config.json_codec import compact_json, read_json
from emendo_config.store.memory_fields import COMMIT_FIELD, OPENED_FIELDS, SPACE_FIELD


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Text and metadata of a memory at one version."""

    memory: str
    metadata: dict[str, Any]


# The fields without which no commit erases a memory.
_ERASURE_NEEDS = ("project", "version", COMMIT_FIELD, SPACE_FIELD)
# The end of write times without any metadata key.
_NO_KEYS = ",{}]"


@dataclass(slots=True)
class WriteTimes:
    """The submission that last set each field, so that an older one that arrives late cannot undo it.

    Times are microseconds, unique over all submissions. The hash keeps them as `stamps`.

    Attributes:
        base: for every field without a time of its own: the submission that made the memory, or returned it to a
            version.
        deleted: of the deleted mark.
    """

    base: int = 0
    text: int = 0
    deleted: int = 0
    metadata: dict[str, int] = field(default_factory=dict)

    def of_text(self) -> int:
        """The time of the text."""
        return max(self.text, self.base)

    def of_key(self, key: str) -> int:
        """The time of a metadata key, present or removed; a return to a version sets all keys."""
        return max(self.metadata.get(key, 0), self.base)

    def to_json(self) -> str:
        """As the hash keeps it."""
        if not self.metadata:  # the usual case; an encoder takes four times as long
            return f"[{self.base},{self.text},{self.deleted}{_NO_KEYS}"
        return compact_json([self.base, self.text, self.deleted, self.metadata])

    @classmethod
    def from_json(cls, text: str) -> WriteTimes:
        """The inverse of `to_json`."""
        if text.endswith(_NO_KEYS):  # the usual case; a decoder takes three times as long
            base, of_text, deleted = text[1 : -len(_NO_KEYS)].split(",")
            return cls(int(base), int(of_text), int(deleted))
        if not text:
            return cls()
        base, of_text, deleted, metadata = read_json(text)[:4]  # a newer release may have added some
        if not {type(base), type(of_text), type(deleted), *map(type, metadata.values())} <= {int}:
            raise TypeError("stamps")
        return cls(base, of_text, deleted, metadata)


@dataclass(slots=True)
class MemoryState:
    """A memory as read, or as it will be after a change; version 0 means that it does not exist.

    Attributes:
        commit_id: of the commit that made this version; empty for one of an older release.
        read_metadata: the JSON of the metadata as read; empty in a state that was not read.
    """

    id: str
    project: str = ""
    memory: str = ""
    user_id: str = ""
    agent_id: str = ""
    run_id: str = ""
    actor_id: str = ""
    role: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    hash: str = ""
    version: int = 0
    created_at: str = ""
    updated_at: str = ""
    expires_at: str = ""
    is_deleted: bool = False
    write_times: WriteTimes = field(default_factory=WriteTimes)
    erased: bool = False
    commit_id: str = ""
    read_metadata: str = field(default="", compare=False, repr=False)

    def copy(self) -> MemoryState:
        """A state to change; it shares the metadata values, which are replaced and never changed in place."""
        # Field by field: dataclasses.replace takes five times as long, and this is done for every operation.
        times = self.write_times
        return MemoryState(
            self.id,
            self.project,
            self.memory,
            self.user_id,
            self.agent_id,
            self.run_id,
            self.actor_id,
            self.role,
            dict(self.metadata),
            self.hash,
            self.version,
            self.created_at,
            self.updated_at,
            self.expires_at,
            self.is_deleted,
            WriteTimes(times.base, times.text, times.deleted, dict(times.metadata)),
            self.erased,
            self.commit_id,
        )

    @property
    def stored_metadata(self) -> str:
        """The metadata as JSON, as the hash stores it."""
        return self.read_metadata or metadata_json(self.metadata)

    @property
    def deleted_at(self) -> int:
        """When the memory was deleted, in microseconds: a submission time, but never ahead of its last change.

        Submission times are ahead of Redis' time after its clock was.
        """
        return min(self.write_times.deleted, microseconds_of(datetime.fromisoformat(self.updated_at)))

    @property
    def snapshot(self) -> Snapshot:
        """The content."""
        return Snapshot(self.memory, self.metadata)


def parse_state(memory_id: str, values: Sequence[bytes | None]) -> MemoryState:
    """The values of STATE_FIELDS; absent ones are empty.

    Raises:
        ValueError, TypeError, AttributeError: the memory is damaged.
    """
    _, project, memory, user_id, agent_id, run_id, actor_id, role, metadata, digest, version, *rest = [
        "" if value is None else value.decode() for value in values
    ]
    created_at, updated_at, expires_at, is_deleted, write_times, erased, commit_id = rest
    return MemoryState(
        memory_id,
        project,
        memory,
        user_id,
        agent_id,
        run_id,
        actor_id,
        role,
        _object(metadata) if metadata not in ("", "{}") else {},
        digest,
        _number(version) if version else 0,
        created_at,
        updated_at,
        expires_at,
        is_deleted == "1",
        WriteTimes.from_json(write_times),
        erased == "1",
        commit_id,
        metadata,
    )


def parse_damaged(memory_id: str, values: Sequence[bytes | None]) -> MemoryState:
    """The part of a damaged memory that an erasure needs; version 0 if that cannot be read either.

    Args:
        memory_id: the memory's.
        values: of OPENED_FIELDS.
    """
    found = dict(zip(OPENED_FIELDS, values, strict=True))
    try:
        project, version, commit_id, _ = ((found[name] or b"").decode() for name in _ERASURE_NEEDS)
        return MemoryState(memory_id, project, version=_number(version), commit_id=commit_id)
    except ValueError:
        return MemoryState(memory_id)


def _number(version: str) -> int:
    """A version; in another spelling it is no other number, but the commit compares texts and would never agree."""
    number = int(version)
    if str(number) != version:
        raise ValueError("version")
    return number


def _object(text: str) -> dict[str, Any]:
    found = read_json(text)
    if not isinstance(found, dict):
        raise TypeError("metadata")
    return found


def metadata_json(metadata: dict[str, Any]) -> str:
    """Metadata as the hash stores it."""
    return compact_json(metadata) if metadata else "{}"


def is_same_metadata(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """True when both have the same JSON; Python takes 1, 1.0 and True for equal, JSON does not."""
    if one != other:
        return False
    return all(isinstance(value, str) for value in one.values()) or metadata_json(one) == metadata_json(other)
