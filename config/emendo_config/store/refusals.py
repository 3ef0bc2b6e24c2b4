"""Refusals of Redis for lack of rights: which errors are one, and who was refused what."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from redis.exceptions import NoPermissionError, RedisError, ResponseError

# How they begin, except for those that redis-py has a class for. Within a script they have no code of their own.
_BEGINNINGS = ("ACL failure in script", "The user executing the script can't", "User does not have the required perm")
_COMMAND = re.compile(r"[Uu]ser (\S+) has no permissions to run the '([\w.|]+)' command")
_NOTED = "emendo_refusal"


@dataclass(frozen=True, slots=True)
class Refusal:
    """The user and the command of a refusal; no key and no argument.

    Attributes:
        user: of Redis; empty when it is not known.
        sent: name of the command that was sent, and the digest of the script that it runs; empty when not known.
        command: that Redis refused, in lower case; empty when it was a key or a channel.
        of: what the right is about.
    """

    user: str
    sent: tuple[str, str]
    command: str
    of: Literal["command", "key", "channel"]


def is_refused(error: BaseException) -> bool:
    """True when the user of Redis lacks the right to a command, a key or a channel."""
    return isinstance(error, NoPermissionError) or (
        isinstance(error, ResponseError) and str(error).removeprefix("-").startswith(_BEGINNINGS)
    )


def note_refusal(error: ResponseError, client: Any, command: Sequence[Any]) -> None:
    """Remembers at a refusal who sent what, since Redis names neither when it refuses a key."""
    if is_refused(error):
        user = client.connection_pool.connection_kwargs.get("username") or "default"
        words = (str(command[0]), str(command[1]) if str(command[0]).startswith("EVALSHA") else "")
        setattr(error, _NOTED, (user, words))


def refusal_of(error: RedisError) -> Refusal:
    """The user and the command, as far as the error tells."""
    user, sent = getattr(error, _NOTED, ("", ("", "")))
    message = str(error)
    if found := _COMMAND.search(message):
        return Refusal(found[1], sent, found[2].lower(), "command")
    return Refusal(user, sent, "", "channel" if "access a channel" in message else "key")
