"""Redis conversations without the I/O: written once, run by both the sync and the async client.

A conversation is a generator: it yields a Batch (commands for one plane, sent as one pipelined round
trip), is sent the replies, and returns its result.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import redis
from redis.exceptions import AuthenticationError, NoScriptError, RedisError, ResponseError

from emendo_client.errors import EmendoError, NetworkError, VectorStoreError
from emendo_config.redis_io import Command, are_all_in_use, lua_source, round_trip, round_trip_async, script_digest

if TYPE_CHECKING:
    from redis.asyncio import Redis as AsyncRedis

T = TypeVar("T")
_SCRIPTS = ("accept", "append", "cancel", "discard", "read", "replay", "steer")


@dataclass(frozen=True, slots=True)
class Batch:
    """Commands for one plane, sent together; each reply comes back at its command's place."""

    plane: Literal["data", "control"]
    commands: list[Command]


Steps = Generator[Batch, list[Any], T]
Plane = Callable[[list[Command]], list[Any]]
AsyncPlane = Callable[[list[Command]], Awaitable[list[Any]]]


def script(name: str, keys: Sequence[str], args: Sequence[str | int | bytes]) -> Command:
    """The command that runs `lua/<name>.lua`."""
    return ("EVALSHA", _digest(name), len(keys), *keys, *args)


def run(planes: Mapping[str, Plane], steps: Steps[T]) -> T:
    """Carries a conversation out, blocking.

    Raises:
        NetworkError: Redis could not be reached in time.
        VectorStoreError: Redis refused a command.
    """
    try:
        batch = next(steps)
        while True:
            batch = steps.send(planes[batch.plane](batch.commands))
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # a Steps[T] returns T
    except RedisError as error:
        raise translate(error) from error


async def run_async(planes: Mapping[str, AsyncPlane], steps: Steps[T]) -> T:
    """The asyncio twin of `run`."""
    try:
        batch = next(steps)
        while True:
            batch = steps.send(await planes[batch.plane](batch.commands))
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # a Steps[T] returns T
    except RedisError as error:
        raise translate(error) from error


def plane(connection: redis.Redis) -> Plane:
    """A plane for conversations that have each round trip to themselves; `together` has one that shares them."""

    def send(commands: list[Command]) -> list[Any]:
        try:
            return round_trip(connection, commands)
        except NoScriptError:
            load_scripts(connection)
            return round_trip(connection, commands)

    return send


def plane_async(connection: AsyncRedis) -> AsyncPlane:
    """The asyncio twin of `plane`."""

    async def send(commands: list[Command]) -> list[Any]:
        try:
            return await round_trip_async(connection, commands)
        except NoScriptError:
            await load_scripts_async(connection)
            return await round_trip_async(connection, commands)

    return send


def load_scripts(connection: redis.Redis) -> None:
    """Tells Redis the scripts it does not know, or has forgotten."""
    for name in _SCRIPTS:
        connection.script_load(_source(name))


async def load_scripts_async(connection: AsyncRedis) -> None:
    """The asyncio twin of `load_scripts`."""
    for name in _SCRIPTS:
        await connection.script_load(_source(name))


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


def _source(name: str) -> str:
    return lua_source("emendo_client", name)


_digests: dict[str, str] = {}


def _digest(name: str) -> str:
    if name not in _digests:
        _digests[name] = script_digest(_source(name))
    return _digests[name]
