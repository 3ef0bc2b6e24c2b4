"""The search index over memory hashes, described and created through redisvl.

FLAT by default: memory search is always scoped to one user, agent or run, and overwriting a vector under
FLAT is some hundred times cheaper than under HNSW (docs/design.md, "Index").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from emendo_config.errors import ConfigurationError
from emendo_config.keys import Keys
from emendo_config.settings import Settings
from emendo_config.spaces import EmbeddingSpace

if TYPE_CHECKING:
    from redis import Redis

# Tags are split at this character, which ids and metadata may not contain (control characters are refused),
# so a value such as "a,b" stays one tag.
TAG_SEPARATOR = "\x1f"
TAG_FIELDS = ("project", "user_id", "agent_id", "run_id", "actor_id", "role", "is_deleted", "metadata_tags")

NUMERIC_FIELDS = ("expires_ms", "deleted_ms")


def index_schema(settings: Settings, space: EmbeddingSpace) -> dict[str, Any]:
    """The redisvl schema of one space's index: tags to scope by, times to sort by, one vector field.

    Args:
        settings: prefix and index algorithm.
        space: whose vectors the index holds, float32[space.dimensions] under cosine distance.
    """
    keys = Keys(settings.key_prefix)
    tag_attributes = {"separator": TAG_SEPARATOR, "case_sensitive": True}
    fields: list[dict[str, Any]] = [{"name": name, "type": "tag", "attrs": dict(tag_attributes)} for name in TAG_FIELDS]
    fields += [
        {"name": name, "type": "tag", "attrs": {**tag_attributes, "sortable": True, "unf": True}}
        for name in ("created_at", "updated_at")
    ]
    fields += [{"name": name, "type": "numeric"} for name in NUMERIC_FIELDS]
    fields.append(
        {
            "name": space.field,
            "type": "vector",
            "attrs": {
                "algorithm": settings.index_algorithm,
                "dims": space.dimensions,
                "distance_metric": "cosine",
                "datatype": "float32",
            },
        }
    )
    return {
        "index": {
            "name": keys.index(space.name),
            "prefix": keys.memory_prefix.removesuffix(":"),
            "key_separator": ":",
            "storage_type": "hash",
        },
        "fields": fields,
    }


def ensure_index(redis: Redis, settings: Settings) -> None:
    """Creates the space's index and the alias when they are missing, and checks them when they are not.

    Safe to call from many starting workers at once; never drops anything.

    Raises:
        ConfigurationError: the alias stands for an index of another model or dimension.
    """
    keys = Keys(settings.key_prefix)
    space = settings.space
    current = indexed_space(redis, keys)
    if current is None:
        _create(redis, settings, space)
        current = indexed_space(redis, keys)
    if current != (space.field, space.dimensions):
        field, dimensions = current or ("nothing", 0)
        raise ConfigurationError(
            f"the store is indexed by {field} ({dimensions} dimensions), but the settings ask for "
            f"{space.field} ({space.dimensions} dimensions)",
            suggestion="set EMENDO_EMBEDDING_PROVIDER, EMENDO_EMBEDDING_MODEL and EMENDO_EMBEDDING_DIMENSIONS "
            "back to what the store was written with, or use another EMENDO_KEY_PREFIX",
        )


def indexed_space(redis: Redis, keys: Keys) -> tuple[str, int] | None:
    """The vector field and dimension behind the alias; None when there is no such alias yet."""
    try:
        info = redis.execute_command("FT.INFO", keys.index_alias)
    except ResponseError as error:
        if _is_unknown_index(error):
            return None
        raise
    for attribute in _pairs(info)["attributes"]:
        described = _pairs(attribute)
        if described.get("type") == "VECTOR":
            return str(described["identifier"]), int(described["dim"])
    return None


def _create(redis: Redis, settings: Settings, space: EmbeddingSpace) -> None:
    from redisvl.index import SearchIndex

    keys = Keys(settings.key_prefix)
    index = SearchIndex.from_dict(index_schema(settings, space), redis_client=redis)
    creations: tuple[Callable[[], Any], ...] = (
        lambda: index.create(overwrite=False),
        lambda: redis.execute_command("FT.ALIASADD", keys.index_alias, keys.index(space.name)),
    )
    for create in creations:
        try:
            create()
        except Exception as error:  # redisvl wraps Redis's error in its own
            if "already exists" not in _chain(error):  # another worker was first
                raise


def _chain(error: BaseException | None) -> str:
    messages = []
    while error is not None:
        messages.append(str(error).lower())
        error = error.__cause__ or error.__context__
    return " ".join(messages)


def _is_unknown_index(error: ResponseError) -> bool:
    message = str(error).lower()
    return "unknown index" in message or "no such index" in message


def _pairs(reply: Any) -> dict[str, Any]:
    """A RESP2 flat list or RESP3 map of pairs, keys and byte values as str."""
    items = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=False)
    return {_text(key): _text(value) for key, value in items}


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value
