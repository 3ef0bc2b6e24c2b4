"""redis-py's errors in Emendo's terms."""

from __future__ import annotations

import re

from redis.exceptions import (
    AuthenticationError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from emendo_client.errors import EmendoError, NetworkError, ValidationError, VectorStoreError
from emendo_config.error_codes import ErrorCode
from emendo_config.store.connections import are_all_in_use
from emendo_config.store.refusals import is_refused, refusal_of
from emendo_config.store.scripts import script_name
from emendo_config.tracebacks import is_trusted, place_of

# Only the caller can ask for less.
_BEYOND = "offset exceeds"
# How messages of Redis begin, what they mean, and what to do.
_REFUSALS = (
    (
        "unknown command",
        "this Redis does not know a command of Emendo: it has no search module, or is older than Redis 7",
        "use a Redis with search, such as the image redis:8; emendo doctor shows what is missing",
    ),
    (
        _BEYOND,
        "the page is beyond what a search of Redis reaches",
        "ask for an earlier page, go on by the cursor, or narrow the filters",
    ),
    (
        "limit exceeds",
        "the page is larger than what a search of Redis returns",
        "ask for smaller pages",
    ),
    (
        "command not allowed",
        "Redis does not allow a command of Emendo in its present state",
        "its log says why: a replica, a script or a transaction in the way",
    ),
    (
        "timeout limit was reached",
        "the search took longer than Redis allows",
        "narrow the filters, or raise search-timeout in the settings of Redis",
    ),
    (
        "error running script",
        "a script of Emendo failed within Redis",
        "emendo doctor --deep names damaged keys; report it if there are none",
    ),
)
_REFUSALS_BY_CLASS: dict[type[ResponseError], tuple[str, str]] = {
    ReadOnlyError: (
        "this Redis is a replica and refuses changes",
        "give the master's URL, or that of the sentinels: redis+sentinel://…",
    ),
}
_CODE = re.compile(r"[A-Z][A-Z0-9_]{2,}(?= )")


def is_busy(error: ResponseError) -> bool:
    """True when Redis answers nobody for a moment: a script runs too long, or a cluster moves the keys."""
    return isinstance(error, TryAgainError) or str(error).startswith("BUSY ")


def translate(error: RedisError) -> EmendoError:
    """The Emendo error for a redis-py error; it keeps the kind and drops the text, which may name hosts."""
    if isinstance(error, ResponseError):
        return _no_permission(error) if is_refused(error) else _refusal(error)
    if isinstance(error, AuthenticationError):  # redis-py derives it from ConnectionError
        return NetworkError(
            "Redis refuses the user or password of EMENDO_REDIS_URL, or of EMENDO_CONTROL_URL where that is set",
            error_code=ErrorCode.REDIS_LOGIN_REFUSED,
            suggestion="correct the URL; emendo doctor shows which Redis refuses",
        )
    if are_all_in_use(error):
        return NetworkError(
            "all connections to Redis are in use, and none became free in time",
            error_code=ErrorCode.NO_CONNECTION_FREE,
            suggestion="raise EMENDO_REDIS_MAX_CONNECTIONS, or make fewer calls at once",
        )
    return NetworkError(
        f"Redis cannot be reached ({type(error).__name__})",
        suggestion="check EMENDO_REDIS_URL; emendo doctor shows what answers",
    )


def without_content(error: Exception) -> EmendoError:
    """The Emendo error for an error of Redis, or for one that a stored document caused; neither quotes anything.

    It has the error as its cause if that tells of the connection alone. Raise it outside the `except` clause: inside,
    Python would attach the error to it, and print it.
    """
    if isinstance(error, RedisError):
        failure = translate(error)
        failure.__cause__ = error if is_trusted(error) else None
        return failure
    return VectorStoreError(
        f"a stored document cannot be read ({type(error).__name__} at {place_of(error)}): it is damaged",
        error_code=ErrorCode.RECORD_UNREADABLE,
        suggestion="emendo diagnose <memory id> and emendo doctor --deep name damaged memories",
    )


def out_of_memory(problem: str) -> VectorStoreError:
    """The error of a Redis that has no room."""
    return VectorStoreError(
        problem,
        error_code=ErrorCode.OUT_OF_MEMORY,
        suggestion="raise maxmemory, or erase memories (emendo purge); workers notice within seconds",
    )


def _no_permission(error: ResponseError) -> VectorStoreError:
    found = refusal_of(error)
    name, digest = found.sent
    where = f"the script {script_name(digest) or digest[:8]}" if digest else f"the command {name}" if name else ""
    if found.command:
        what = f"run the command {found.command.upper()}" + (f" in {where}" if digest else "")
    else:
        what = f"use a {found.of} of {where or 'Emendo'}"
    who = f"its user {found.user!r}" if found.user else "the user of its URL"
    return VectorStoreError(
        f"Redis does not let {who} {what}",
        error_code=ErrorCode.REDIS_NO_PERMISSION,
        details={"user": found.user, "command": found.command or name.lower()},
        suggestion="give the user the rules of its role, which emendo redis-users prints; emendo doctor names those "
        "that it lacks",
    )


def _refusal(error: ResponseError) -> EmendoError:
    message = str(error)
    if isinstance(error, OutOfMemoryError):
        return out_of_memory("Redis has reached maxmemory and refuses what needs more")
    if is_busy(error):
        return NetworkError(
            "Redis is busy with a long command and answers nobody else",
            error_code=ErrorCode.REDIS_BUSY,
            suggestion="try again in some seconds; SLOWLOG GET shows the command",
        )
    if "index" in message.lower() and ("unknown" in message.lower() or "no such" in message.lower()):
        return VectorStoreError(
            "the search index does not exist yet",
            error_code=ErrorCode.NO_INDEX,
            suggestion="start a worker (emendo worker), which creates it; emendo doctor shows its state",
        )
    if type(error) in _REFUSALS_BY_CLASS:
        problem, suggestion = _REFUSALS_BY_CLASS[type(error)]
        return VectorStoreError(problem, suggestion=suggestion)
    for beginning, problem, suggestion in _REFUSALS:
        if message.lower().startswith(beginning):
            kind_of_error = ValidationError if beginning == _BEYOND else VectorStoreError
            return kind_of_error(problem, suggestion=suggestion)
    # redis-py takes the code out of the message when it has a class for it. The rest of a message may hold texts.
    found = _CODE.match(message)
    kind = type(error).__name__ if type(error) is not ResponseError else found and found[0]
    return VectorStoreError(
        f"Redis refused a command{f' ({kind})' if kind else ', in words that Emendo does not know'}",
        suggestion="emendo doctor examines Redis; its log, or MONITOR, shows the command",
    )
