"""The state of a memory: what decisions are based on, and what they change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from emendo_config.compact import compact_json, read_json

# The field that lists the embedding spaces whose vector fields hold the vector of the current text.
SPACE_FIELD = "embedding_space"

# The fields a decision is based on, in the order they are read.
STATE_FIELDS = (
    "id",
    "project",
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
    "stamps",
    "erased",
)
# What `open.lua` reads.
OPENED_FIELDS = (*STATE_FIELDS, SPACE_FIELD)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Text and metadata of a memory at one version, from its history."""

    memory: str
    metadata: dict[str, Any]


# How stamps without any of metadata keys end.
_NO_KEYS = ",{}]"


@dataclass(slots=True)
class Stamps:
    """Which submission last set each field, so that an older one that arrives late cannot undo it.

    Times in microseconds, unique over all submissions. `base` stands for every field not named: it is the
    submission that made the memory, or that set it back to a version.
    """

    base: int = 0
    text: int = 0
    deleted: int = 0
    metadata: dict[str, int] = field(default_factory=dict)

    def of_text(self) -> int:
        """When the text was set."""
        return max(self.text, self.base)

    def of_key(self, key: str) -> int:
        """When the metadata key was set or removed: by a newer submission that set them all back, too."""
        return max(self.metadata.get(key, 0), self.base)

    def to_json(self) -> str:
        """As the hash keeps it."""
        if not self.metadata:  # mostly; an encoder takes four times as long
            return f"[{self.base},{self.text},{self.deleted}{_NO_KEYS}"
        return compact_json([self.base, self.text, self.deleted, self.metadata])

    @classmethod
    def from_json(cls, text: str) -> Stamps:
        """The inverse of `to_json`."""
        if text.endswith(_NO_KEYS):  # mostly; a decoder takes three times as long
            base, of_text, deleted = text[1 : -len(_NO_KEYS)].split(",")
            return cls(int(base), int(of_text), int(deleted))
        return cls(*read_json(text)) if text else cls()


@dataclass(slots=True)
class MemoryState:
    """A memory as read, or as it will be after a change; version 0 is one that does not exist.

    Attributes:
        read_metadata: the metadata as they were read; empty in a state that was made otherwise.
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
    stamps: Stamps = field(default_factory=Stamps)
    erased: bool = False
    read_metadata: str = field(default="", compare=False, repr=False)

    def copy(self) -> MemoryState:
        """A state to change; metadata values are replaced, never changed in place, and may be shared."""
        # Field by field: dataclasses.replace takes five times as long, and this is done for every operation.
        stamps = self.stamps
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
            Stamps(stamps.base, stamps.text, stamps.deleted, dict(stamps.metadata)),
            self.erased,
        )

    @property
    def stored_metadata(self) -> str:
        """Its metadata as they are stored."""
        return self.read_metadata or metadata_json(self.metadata)

    @property
    def snapshot(self) -> Snapshot:
        """Its content."""
        return Snapshot(self.memory, self.metadata)


def parse_state(memory_id: str, values: Sequence[bytes | None]) -> MemoryState:
    """The values of STATE_FIELDS; absent ones are empty."""
    _, project, memory, user_id, agent_id, run_id, actor_id, role, metadata, digest, version, *rest = [
        "" if value is None else value.decode() for value in values
    ]
    created_at, updated_at, expires_at, is_deleted, stamps, erased = rest
    return MemoryState(
        memory_id,
        project,
        memory,
        user_id,
        agent_id,
        run_id,
        actor_id,
        role,
        read_json(metadata) if metadata not in ("", "{}") else {},
        digest,
        int(version or 0),
        created_at,
        updated_at,
        expires_at,
        is_deleted == "1",
        Stamps.from_json(stamps),
        erased == "1",
        metadata,
    )


def listed_spaces(value: str) -> frozenset[str]:
    """The names in a memory's `embedding_space`."""
    return frozenset(filter(None, value.split(",")))


def spaces_value(names: Iterable[str]) -> str:
    """The `embedding_space` of a memory that has these spaces' vectors."""
    return ",".join(sorted(names))


def metadata_json(metadata: dict[str, Any]) -> str:
    """Metadata as it is stored."""
    return compact_json(metadata) if metadata else "{}"


def is_same_metadata(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether both are stored alike; 1, 1.0 and True are equal in Python, and not in JSON."""
    if one != other:
        return False
    return all(isinstance(value, str) for value in one.values()) or metadata_json(one) == metadata_json(other)
