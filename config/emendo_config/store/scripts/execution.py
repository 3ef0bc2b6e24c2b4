"""Runs scripts: a script that Redis has forgotten is loaded, and the round trip repeated.

That is safe because every script may run twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import redis
from redis.exceptions import NoScriptError, ResponseError

from emendo_config.store.pipeline import Command, replies_of, round_trip, round_trip_async
from emendo_config.store.scripts.declaration import RUN, RUN_READING, TABLE

if TYPE_CHECKING:
    from redis.asyncio import Redis as AsyncRedis


def run(
    connection: redis.Redis, commands: Sequence[Command], *, kept: tuple[type[ResponseError], ...] = ()
) -> list[Any]:
    """Sends the commands, scripts and others, in one pipelined round trip; the replies in their order.

    Args:
        connection: to the Redis that carries them out.
        commands: any number.
        kept: errors that stand in the place of a refused command's reply and are not raised.

    Raises:
        ResponseError: Redis refused a command; this is the first such error, and all others were carried out.
        RedisError: Redis could not be reached, or did not answer in time.
    """
    if not commands:
        return []
    kept_errors = (kept,) if kept else ()
    try:
        return round_trip(connection, commands, *kept_errors)
    except NoScriptError:
        round_trip(connection, load_commands(commands))
        return round_trip(connection, commands, *kept_errors)


def run_each(connection: redis.Redis, commands: Sequence[Command]) -> list[Any]:
    """Does what `run` does, for commands that are no concern of each other: a refused one's reply is its error.

    Raises:
        RedisError: Redis could not be reached, or did not answer in time.
    """
    if not commands:
        return []
    replies = replies_of(connection, commands)
    if any(isinstance(reply, NoScriptError) for reply in replies):
        round_trip(connection, load_commands(commands))
        replies = replies_of(connection, commands)
    return replies


async def run_async(connection: AsyncRedis, commands: Sequence[Command]) -> list[Any]:
    """The asyncio twin of `run`."""
    if not commands:
        return []
    try:
        return await round_trip_async(connection, commands)
    except NoScriptError:
        await round_trip_async(connection, load_commands(commands))
        return await round_trip_async(connection, commands)


def load_commands(commands: Iterable[Command]) -> list[Command]:
    """Commands that load the scripts which the given commands run, for one round trip."""
    wanted = {command[1] for command in commands if command[0] in (RUN, RUN_READING)}
    known = {each.digest: each for script in TABLE.values() for each in (script, script.at_limit)}
    return [("SCRIPT", "LOAD", known[digest].text) for digest in sorted(wanted & known.keys())]


def script_name(digest: str) -> str | None:
    """The name of the script that has this digest; None for no script of this release."""
    return next((name for name, each in TABLE.items() if digest in (each.digest, each.at_limit.digest)), None)


Sender = Callable[[list[Command]], list[Any]]
AsyncSender = Callable[[list[Command]], Awaitable[list[Any]]]


def sender_for(connection: redis.Redis) -> Sender:
    """A sender that makes each round trip by itself; the client's auto-pipeline shares round trips."""
    return partial(run, connection)


def sender_for_async(connection: AsyncRedis) -> AsyncSender:
    """The asyncio twin of `sender_for`."""
    return partial(run_async, connection)
