"""The schema of the search index over memory hashes, and the reading of an index's description. Pure: no I/O.

The default algorithm is FLAT, since memory search is always scoped to one user, agent or run. Overwriting a vector
costs some hundred times less under FLAT than under HNSW (docs/decisions/0006-flat-index.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from emendo_config.errors import ConfigurationError
from emendo_config.spaces.registry import SpaceRecord
from emendo_config.store.keys import Keys
from emendo_config.store.memory_fields import NUMBER_FIELDS, SORTED_FIELDS, TAG_FIELDS, TEXT_FIELDS

# Tags are split at this character, so a value such as "a,b" stays one tag. Ids and metadata cannot contain it, because
# control characters are refused.
TAG_SEPARATOR = "\x1f"


def index_schema(keys: Keys, record: SpaceRecord, *, index_text: bool = False) -> dict[str, Any]:
    """The redisvl schema of one space's index: tags to scope by, times to sort by, one vector field.

    Args:
        keys: whose memories are indexed; each space's index holds all of them.
        record: the space, datatype[dimensions] in its own field.
        index_text: whether full-text search is wanted, too.
    """
    tag_attributes = {"separator": TAG_SEPARATOR, "case_sensitive": True}
    fields: list[dict[str, Any]] = [{"name": name, "type": "tag", "attrs": dict(tag_attributes)} for name in TAG_FIELDS]
    # Times are sorted by, never searched for. A tag index would keep a list for each time, and every update would pay.
    fields += [
        {"name": name, "type": "tag", "attrs": {**tag_attributes, "sortable": True, "unf": True, "no_index": True}}
        for name in SORTED_FIELDS
    ]
    fields += [{"name": name, "type": "numeric"} for name in NUMBER_FIELDS]
    if index_text:
        # Names and codes are looked for as they are, so no word is cut down to its stem.
        fields += [{"name": name, "type": "text", "attrs": {"no_stem": True}} for name in TEXT_FIELDS]
    fields.append(
        {
            "name": record.field,
            "type": "vector",
            "attrs": {
                "algorithm": record.algorithm,
                "dims": record.space.dimensions,
                "distance_metric": record.metric,
                "datatype": record.datatype,
            },
        }
    )
    return {
        "index": {
            "name": keys.index(record.name),
            "prefix": keys.memory_prefix,
            "key_separator": ":",
            "storage_type": "hash",
        },
        "fields": fields,
    }


def find_active(indexed: tuple[str, int] | None, records: Iterable[SpaceRecord]) -> SpaceRecord:
    """The record of the space the alias stands for.

    Args:
        indexed: what `indexed_space` found.
        records: of the registry.

    Raises:
        ConfigurationError: it is not registered.
    """
    for record in records:
        if indexed == (record.field, record.space.dimensions):
            return record
    field = indexed[0] if indexed else "nothing"
    raise ConfigurationError(
        f"the search alias stands for {field}, which is none of the registered embedding spaces",
        suggestion="emendo doctor lists them; point the alias at the index of one (FT.ALIASUPDATE)",
    )


class IndexDescription(NamedTuple):
    """An index as FT.INFO describes it.

    Attributes:
        name: the real one, also where an alias was asked for.
        prefixes: of the keys that it holds.
        fields: the names of its fields.
        vector: its vector field and dimension; None when it has none.
        is_filling: Redis still looks through the keys for what belongs to it.
        filled: how far it is with that, from 0 to 1.
    """

    name: str
    prefixes: tuple[str, ...]
    fields: frozenset[str]
    vector: tuple[str, int] | None
    is_filling: bool
    filled: float


def describe(info: Any) -> IndexDescription:
    """Reads an FT.INFO reply."""
    pairs = _pairs(info)
    attributes = [_pairs(attribute) for attribute in pairs["attributes"]]
    vectors = ((str(each["identifier"]), int(each["dim"])) for each in attributes if each.get("type") == "VECTOR")
    return IndexDescription(
        name=pairs["index_name"],
        prefixes=tuple(map(_text, _pairs(pairs["index_definition"])["prefixes"])),
        fields=frozenset(str(each["identifier"]) for each in attributes),
        vector=next(vectors, None),
        is_filling=bool(int(pairs["indexing"])),
        filled=float(pairs["percent_indexed"]),
    )


def vector_field(info: Any) -> tuple[str, int] | None:
    """The vector field and dimension an FT.INFO reply tells of; None when it has no vector field."""
    return describe(info).vector


def _pairs(reply: Any) -> dict[str, Any]:
    """A RESP2 flat list or RESP3 map of pairs, keys and byte values as str."""
    items = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=False)
    return {_text(key): _text(value) for key, value in items}


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value
