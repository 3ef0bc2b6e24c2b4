"""Redis conversations without the I/O: written once, run by both the sync and the async client.

A conversation is a generator: it yields a Batch (commands for one plane, sent as one pipelined round
trip), is sent the replies, and returns its result.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import redis
from redis.exceptions import AuthenticationError, NoScriptError, RedisError, ResponseError

from emendo_client.errors import EmendoError, NetworkError, VectorStoreError
from emendo_config.redis_io import are_all_in_use, lua_source, round_trip, script_digest

if TYPE_CHECKING:
    from redis.asyncio import Redis as AsyncRedis

T = TypeVar("T")
Command = Sequence[Any]
_SCRIPTS = ("accept", "append", "cancel", "discard", "read", "replay", "steer")


@dataclass(frozen=True, slots=True)
class Batch:
    """Commands for one plane, sent together; each reply comes back at its command's place."""

    plane: Literal["data", "control"]
    commands: list[Command]


Steps = Generator[Batch, list[Any], T]


def script(name: str, keys: Sequence[str], args: Sequence[str | int | bytes]) -> Command:
    """The command that runs `lua/<name>.lua`."""
    return ("EVALSHA", _digest(name), len(keys), *keys, *args)


def run(planes: dict[str, redis.Redis], steps: Steps[T]) -> T:
    """Carries a conversation out, blocking.

    Raises:
        NetworkError: Redis could not be reached in time.
        VectorStoreError: Redis refused a command.
    """
    try:
        batch = next(steps)
        while True:
            connection = planes[batch.plane]
            try:
                replies = round_trip(connection, batch.commands)
            except NoScriptError:
                for name in _SCRIPTS:
                    connection.script_load(_source(name))
                replies = round_trip(connection, batch.commands)
            batch = steps.send(replies)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # a Steps[T] returns T
    except RedisError as error:
        raise translate(error) from error


async def run_async(planes: dict[str, AsyncRedis], steps: Steps[T]) -> T:
    """The asyncio twin of `run`."""
    try:
        batch = next(steps)
        while True:
            connection = planes[batch.plane]
            try:
                replies = await _send_async(connection, batch.commands)
            except NoScriptError:
                for name in _SCRIPTS:
                    await connection.script_load(_source(name))
                replies = await _send_async(connection, batch.commands)
            batch = steps.send(replies)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # a Steps[T] returns T
    except RedisError as error:
        raise translate(error) from error


def translate(error: RedisError) -> EmendoError:
    """A redis-py error in Emendo's terms; its text may name hosts, so only its kind is kept."""
    if isinstance(error, ResponseError):
        message = str(error)
        if message.startswith("OOM"):
            return VectorStoreError(
                "Redis is out of memory", error_code="OUT_OF_MEMORY", suggestion="raise maxmemory or purge"
            )
        if "index" in message.lower() and ("unknown" in message.lower() or "no such" in message.lower()):
            return VectorStoreError(
                "the search index does not exist yet",
                error_code="NO_INDEX",
                suggestion="start a worker (emendo worker), which creates it; emendo doctor shows more",
            )
        return VectorStoreError(f"Redis refused a command ({message.split(' ', 1)[0]})")
    if isinstance(error, AuthenticationError):  # for redis-py a kind of failed connection
        return NetworkError(
            "Redis refuses the user or password of EMENDO_REDIS_URL, or of EMENDO_CONTROL_URL where that is set",
            error_code="REDIS_LOGIN_REFUSED",
            suggestion="correct them there; emendo doctor shows which Redis it is",
        )
    if are_all_in_use(error):
        return NetworkError(
            "all connections to Redis are in use, and none became free in time",
            error_code="NO_CONNECTION_FREE",
            suggestion="raise EMENDO_REDIS_MAX_CONNECTIONS, or make fewer calls at once",
        )
    return NetworkError(
        f"Redis cannot be reached ({type(error).__name__})",
        suggestion="check EMENDO_REDIS_URL; emendo doctor shows what answers",
    )


async def _send_async(connection: AsyncRedis, commands: list[Command]) -> list[Any]:
    if len(commands) == 1:
        return [await connection.execute_command(*commands[0])]
    pipeline = connection.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    return await pipeline.execute()


def _source(name: str) -> str:
    return lua_source("emendo_client", name)


_digests: dict[str, str] = {}


def _digest(name: str) -> str:
    if name not in _digests:
        _digests[name] = script_digest(_source(name))
    return _digests[name]
