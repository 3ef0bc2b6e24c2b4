"""Makes, describes and extends search indexes, through redisvl."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError, ResponseError

from emendo_config.spaces.index import IndexDescription, describe, index_schema
from emendo_config.spaces.registry import SpaceRecord
from emendo_config.store.keys import Keys
from emendo_config.store.pipeline import as_text

if TYPE_CHECKING:
    from redis import Redis


def index_names(redis: Redis) -> set[str]:
    """The real names of all indexes of the Redis, other installations' too."""
    return {as_text(name) for name in redis.execute_command("FT._LIST")}


def described(redis: Redis, name: str) -> IndexDescription | None:
    """The index of that name or alias; None when there is none."""
    try:
        return describe(redis.execute_command("FT.INFO", name))
    except ResponseError as error:
        if is_unknown_index(error):
            return None
        raise


def create_index(redis: Redis, keys: Keys, record: SpaceRecord, *, index_text: bool = False) -> None:
    """Makes the space's index, unless it is there; Redis fills it from what it finds, in the background.

    Raises:
        RedisError: as Redis or the way to it failed, without what redisvl makes of that.
    """
    from redisvl.exceptions import RedisVLError
    from redisvl.index import SearchIndex

    index = SearchIndex.from_dict(index_schema(keys, record, index_text=index_text), redis_client=redis)
    try:
        _tolerate_existing(lambda: index.create(overwrite=False))
    except RedisVLError as error:
        for cause in _causes(error):
            if isinstance(cause, RedisError):
                raise cause from error
        raise


def extend_index(redis: Redis, keys: Keys, record: SpaceRecord, *, index_text: bool = False) -> None:
    """Adds the fields that the space's index lacks, as an earlier release made it; searches go on meanwhile."""
    from redisvl.schema import IndexSchema

    name = keys.index(record.name)
    there = described(redis, name)
    schema = IndexSchema.from_dict(index_schema(keys, record, index_text=index_text))
    missing = [field.as_redis_field() for each, field in schema.fields.items() if there and each not in there.fields]
    if missing:
        _tolerate_existing(lambda: redis.ft(name).alter_schema_add(missing))


def add_alias(redis: Redis, keys: Keys, space: str) -> None:
    """Lets the alias stand for the space's index, unless it stands for one already."""
    _tolerate_existing(lambda: redis.execute_command("FT.ALIASADD", keys.index_alias, keys.index(space)))


def drop_indexes(redis: Redis, keys: Keys, space: str) -> None:
    """Drops the space's index, and the one that an earlier release made; the memories stay."""
    for name in (keys.index(space), keys.open_index(space)):
        drop_index(redis, name)


def drop_index(redis: Redis, name: str) -> None:
    """Drops the index, if it is there; the memories stay."""
    try:
        redis.execute_command("FT.DROPINDEX", name)
    except ResponseError as error:
        if not is_unknown_index(error):
            raise


def is_unknown_index(error: ResponseError) -> bool:
    """True when Redis says that there is no such index."""
    message = str(error).lower()
    return "unknown index" in message or "no such index" in message


def _tolerate_existing(create: Callable[[], Any]) -> None:
    try:
        create()
    except Exception as error:  # redisvl wraps Redis's error in its own
        if not any(_says_existing(cause) for cause in _causes(error)):  # another worker was first
            raise


def _says_existing(error: BaseException) -> bool:
    message = str(error).lower()
    return "already exists" in message or "duplicate field" in message


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what it came from, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
