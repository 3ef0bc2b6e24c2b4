"""The registry of embedding spaces: their names, how each is indexed, and whether every write keeps its vectors right.

`ensure_index` writes a store's first space, and a re-embedding the others; every process reads it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from emendo_config.embedding_space import EmbeddingSpace, InputForm
from emendo_config.error_codes import ErrorCode
from emendo_config.errors import ConfigurationError
from emendo_config.json_codec import compact_json, read_json
from emendo_config.settings import Settings
from emendo_config.store import format_versions
from emendo_config.store.keys import Keys
from emendo_config.store.pipeline import as_text

if TYPE_CHECKING:
    from redis import Redis

_ELEMENT_BYTES = {"float32": 4, "float16": 2}


class SpaceState(StrEnum):
    """The effect of a space on a change of a memory."""

    FILLING = "filling"  # its vector is written where its provider answers; memories may lack it
    LIVE = "live"  # complete: no change is made without its vector
    DROPPING = "dropping"  # not written any more; what is left of it is being removed


@dataclass(frozen=True, slots=True)
class SpaceRecord:
    """One registered space.

    Raises:
        ValueError: the datatype is none of those.

    Attributes:
        algorithm: of its index: flat, hnsw or svs-vamana.
        metric: by which its vectors are compared: cosine, ip or l2.
        datatype: of a stored vector's elements, little-endian: float32 or float16.
        copy_of: the space whose vectors these are, stored or indexed in another way; empty when its texts are
            embedded for itself.
        unknown: fields of its entry that this release does not know; they are kept.
    """

    space: EmbeddingSpace
    algorithm: str = "flat"
    metric: str = "cosine"
    datatype: str = "float32"
    state: SpaceState = SpaceState.LIVE
    copy_of: str = ""
    unknown: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.datatype not in _ELEMENT_BYTES:
            raise ValueError(f"no such datatype: {self.datatype!r}; there are {', '.join(_ELEMENT_BYTES)}")

    @property
    def name(self) -> str:
        """The space's name."""
        return self.space.name

    @property
    def field(self) -> str:
        """The hash field that holds its vector: datatype[dimensions]."""
        return self.space.field

    @property
    def embedded_as(self) -> str:
        """The space under whose name its texts are embedded and their vectors cached."""
        return self.copy_of or self.space.name

    @property
    def vector_bytes(self) -> int:
        """How long a stored vector is."""
        return self.space.dimensions * _ELEMENT_BYTES[self.datatype]

    @property
    def is_written(self) -> bool:
        """True when a change of a memory's text writes its vector."""
        return self.state is not SpaceState.DROPPING

    def to_json(self) -> str:
        """As the registry keeps it."""
        space = self.space
        document = {
            "provider": space.provider,
            "model": space.model,
            "dimensions": space.dimensions,
            "generation": space.generation,
            "algorithm": self.algorithm,
            "metric": self.metric,
            "datatype": self.datatype,
            "state": self.state.value,
        }
        if not space.has_plain_texts:
            # Readers of format 1 would embed texts as they are. The release before formats refuses unknown fields.
            document[format_versions.FORMAT] = format_versions.REGISTRY_WITH_FORMS
            document |= {name: {**self.unknown.get(name, {}), **asdict(getattr(space, name))} for name in _FORMS}
        return compact_json({**self.unknown, **document, **({"copy_of": self.copy_of} if self.copy_of else {})})

    @classmethod
    def from_json(cls, text: str | bytes) -> SpaceRecord:
        """The inverse of `to_json`.

        Raises:
            ConfigurationError: (SPACES_UNREADABLE) it is no such document; (RELEASE_TOO_OLD) its format is newer.
        """
        try:
            document = read_json(text)
            format_versions.require_readable(
                document.get(format_versions.FORMAT), format_versions.REGISTRY, "an embedding space of the registry"
            )
            forms = [_read_form(document, name) for name in _FORMS]
            space = EmbeddingSpace(*(document.pop(name) for name in _SPACE_FIELDS), *forms)
            known = {name: document.pop(name) for name in _OWN_FIELDS & document.keys()}
            return cls(space, **{**known, "state": SpaceState(known["state"])}, unknown=document)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(
                f"an embedding space of the registry cannot be read ({type(error).__name__})",
                error_code=ErrorCode.SPACES_UNREADABLE,
                suggestion="its entry is damaged: repair it; docs/design.md describes the registry",
            ) from None


_FORMS = ("passage", "query")
_SPACE_FIELDS = ("provider", "model", "dimensions", "generation")
_OWN_FIELDS = {each.name for each in fields(SpaceRecord)} - {"space", "unknown"}


def _read_form(document: dict[str, Any], name: str) -> InputForm:
    """Takes a form out of the document; fields of it that this release does not know stay."""
    stored = document.pop(name, {})
    known = {each.name: stored.pop(each.name) for each in fields(InputForm) if each.name in stored}
    if stored:
        document[name] = stored
    return InputForm(**known)


def parse_registry(fields: Mapping[Any, bytes]) -> tuple[SpaceRecord, ...]:
    """The reply of HGETALL as records, the oldest space first.

    Raises:
        ConfigurationError: one of them cannot be read.
    """
    records = [_parsed(text) for text in fields.values()]
    return tuple(sorted(records, key=lambda record: (record.space.generation, record.name)))


@lru_cache(maxsize=64)
def _parsed(text: bytes) -> SpaceRecord:
    # Once for a document: every batch reads the registry twice.
    return SpaceRecord.from_json(text)


def registered_spaces(fields: Mapping[Any, bytes], settings: Settings) -> tuple[SpaceRecord, ...]:
    """The same; without a registry, the one space it would begin with.

    There is none where all workers are of an older release, or none has started yet.
    """
    return parse_registry(fields) or (SpaceRecord(settings.space, settings.index_algorithm),)


def read_registry(redis: Redis, keys: Keys) -> tuple[SpaceRecord, ...]:
    """The registered spaces, the oldest first; none in a store nobody has written to yet."""
    fields: Any = redis.hgetall(keys.spaces)
    return parse_registry(fields)


def require_registry(redis: Redis, keys: Keys) -> None:
    """Checks that the registry's key, if there is one, holds a registry.

    Raises:
        ConfigurationError: (SPACES_UNREADABLE) it is of another type.
    """
    kind = as_text(redis.type(keys.spaces))
    if kind not in ("hash", "none"):
        raise ConfigurationError(
            f"the registry of embedding spaces cannot be read: its key is of type {kind}",
            error_code=ErrorCode.SPACES_UNREADABLE,
            suggestion=f"restore {keys.spaces} from a backup; docs/design.md describes the registry",
        )


def save_space(redis: Redis, keys: Keys, record: SpaceRecord) -> None:
    """Registers a space, or changes what is said of it."""
    redis.hset(keys.spaces, record.name, record.to_json())


def remove_space(redis: Redis, keys: Keys, name: str) -> None:
    """Takes a space off the registry."""
    redis.hdel(keys.spaces, name)


def named_space(records: Iterable[SpaceRecord], name: str) -> SpaceRecord | None:
    """The record of that name."""
    return next((record for record in records if record.name == name), None)


def find_space(records: Iterable[SpaceRecord], space: EmbeddingSpace) -> SpaceRecord | None:
    """The newest of the records with this provider, model, dimension and forms of texts, whatever its generation."""
    found = [record for record in records if record.space.is_like(space) and record.is_written]
    return found[-1] if found else None


def newest_listed(records: Iterable[SpaceRecord], listed: Collection[str]) -> SpaceRecord | None:
    """Of the spaces a memory has a vector of the newest: its model is the memory's `embedding_model`."""
    return max(
        (record for record in records if record.name in listed),
        key=lambda record: record.space.generation,
        default=None,
    )


def next_generation(records: Iterable[SpaceRecord]) -> int:
    """The generation of the next space: above every other one's, so that spaces can be told by age."""
    return 1 + max((record.space.generation for record in records), default=0)
