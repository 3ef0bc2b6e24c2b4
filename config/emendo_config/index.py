"""The search index over memory hashes, described and created through redisvl.

FLAT by default: memory search is always scoped to one user, agent or run, and overwriting a vector under
FLAT is some hundred times cheaper than under HNSW (docs/design.md, "Index").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError, ResponseError

from emendo_config.errors import ConfigurationError
from emendo_config.keys import Keys
from emendo_config.redis_io import as_text
from emendo_config.registry import SpaceRecord, SpaceState, find_space, read_registry
from emendo_config.settings import Settings
from emendo_config.spaces import VECTOR_PREFIX, EmbeddingSpace

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import Pipeline

# Tags are split at this character, which ids and metadata may not contain (control characters are refused),
# so a value such as "a,b" stays one tag.
TAG_SEPARATOR = "\x1f"
TAG_FIELDS = ("project", "user_id", "agent_id", "run_id", "actor_id", "role", "is_deleted", "metadata_tags")

NUMERIC_FIELDS = ("expires_ms", "deleted_ms")


def index_schema(keys: Keys, record: SpaceRecord) -> dict[str, Any]:
    """The redisvl schema of one space's index: tags to scope by, times to sort by, one vector field.

    Args:
        keys: whose memories are indexed; each space's index holds all of them.
        record: the space, datatype[dimensions] in its own field.
    """
    tag_attributes = {"separator": TAG_SEPARATOR, "case_sensitive": True}
    fields: list[dict[str, Any]] = [{"name": name, "type": "tag", "attrs": dict(tag_attributes)} for name in TAG_FIELDS]
    # Sorted by, never searched for: indexed as tags, each moment would have a list of its own, and every update pays.
    fields += [
        {"name": name, "type": "tag", "attrs": {**tag_attributes, "sortable": True, "unf": True, "no_index": True}}
        for name in ("created_at", "updated_at")
    ]
    fields += [{"name": name, "type": "numeric"} for name in NUMERIC_FIELDS]
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
            "prefix": keys.memory_prefix.removesuffix(":"),
            "key_separator": ":",
            "storage_type": "hash",
        },
        "fields": fields,
    }


def ensure_index(redis: Redis, settings: Settings) -> SpaceRecord:
    """Makes what is missing of a store's registry and indexes, and checks the settings against it; the active space.

    Safe to call from many starting workers at once; never drops anything, nor moves an alias that is there.

    Raises:
        ConfigurationError: the settings name a space this store does not have, or the alias stands for an index of
            none of its spaces.
    """
    active = restore_indexes(redis, settings)
    if find_space(read_registry(redis, Keys(settings.key_prefix)), settings.space) is None:
        raise _other_space(settings.space, active.name, active.space.dimensions)
    return active


def restore_indexes(redis: Redis, settings: Settings) -> SpaceRecord:
    """Makes the indexes of the registered spaces, and the alias, where they are missing; the active space.

    A store without a registry gets the settings' space as its first. An alias that was lost comes back on the newest
    space that is complete.

    Raises:
        ConfigurationError: the alias stands for an index of no registered space.
    """
    keys = Keys(settings.key_prefix)
    current = indexed_space(redis, keys)
    if current in (None, (settings.space.field, settings.space.dimensions)):
        # Nothing was written yet, or by a release without a registry.
        _register_first(redis, keys, SpaceRecord(settings.space, settings.index_algorithm))
    records = read_registry(redis, keys)
    if current and not records:
        raise _other_space(settings.space, current[0].removeprefix(VECTOR_PREFIX), current[1])
    there = {as_text(name) for name in redis.execute_command("FT._LIST")}
    for record in records:
        is_active = current is not None and record.field == current[0]
        if record.is_written and not is_active and keys.index(record.name) not in there:
            create_index(redis, keys, record)
    complete = [record for record in records if record.state is SpaceState.LIVE]
    if current is None and complete:
        index = keys.index(complete[-1].name)
        _tolerate_existing(lambda: redis.execute_command("FT.ALIASADD", keys.index_alias, index))
        current = indexed_space(redis, keys)
    return find_active(current, records)


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


def indexed_space(redis: Redis, keys: Keys) -> tuple[str, int] | None:
    """The vector field and dimension behind the alias; None when there is no such alias yet."""
    try:
        info = redis.execute_command("FT.INFO", keys.index_alias)
    except ResponseError as error:
        if is_unknown_index(error):
            return None
        raise
    return vector_field(info)


def vector_field(info: Any) -> tuple[str, int] | None:
    """The vector field and dimension an FT.INFO reply tells of; None when it has no vector field."""
    for attribute in _pairs(info)["attributes"]:
        described = _pairs(attribute)
        if described.get("type") == "VECTOR":
            return str(described["identifier"]), int(described["dim"])
    return None


def create_index(redis: Redis, keys: Keys, record: SpaceRecord) -> None:
    """Makes the space's index, unless it is there; Redis fills it from what it finds, in the background.

    Raises:
        RedisError: as Redis or the way to it failed, without what redisvl makes of that.
    """
    from redisvl.exceptions import RedisVLError
    from redisvl.index import SearchIndex

    index = SearchIndex.from_dict(index_schema(keys, record), redis_client=redis)
    try:
        _tolerate_existing(lambda: index.create(overwrite=False))
    except RedisVLError as error:
        for cause in _causes(error):
            if isinstance(cause, RedisError):
                raise cause from error
        raise


def _register_first(redis: Redis, keys: Keys, record: SpaceRecord) -> None:
    def register(pipeline: Pipeline) -> None:
        if not pipeline.exists(keys.spaces):
            pipeline.multi()
            pipeline.hset(keys.spaces, record.name, record.to_json())

    redis.transaction(register, keys.spaces)  # of workers that start with different settings one wins


def _other_space(wanted: EmbeddingSpace, name: str, dimensions: int) -> ConfigurationError:
    return ConfigurationError(
        f"the store is indexed by {name} ({dimensions} dimensions), but the settings ask for "
        f"{wanted.name} ({wanted.dimensions} dimensions)",
        suggestion="set EMENDO_EMBEDDING_PROVIDER, EMENDO_EMBEDDING_MODEL and EMENDO_EMBEDDING_DIMENSIONS "
        "back to what the store was written with and change it by emendo reembed, or use another EMENDO_KEY_PREFIX",
    )


def _tolerate_existing(create: Callable[[], Any]) -> None:
    try:
        create()
    except Exception as error:  # redisvl wraps Redis's error in its own
        if "already exists" not in _chain(error):  # another worker was first
            raise


def _chain(error: BaseException) -> str:
    return " ".join(str(cause).lower() for cause in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what it came from, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def is_unknown_index(error: ResponseError) -> bool:
    """True when Redis says that there is no such index."""
    message = str(error).lower()
    return "unknown index" in message or "no such index" in message


def _pairs(reply: Any) -> dict[str, Any]:
    """A RESP2 flat list or RESP3 map of pairs, keys and byte values as str."""
    items = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=False)
    return {_text(key): _text(value) for key, value in items}


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value
