"""Errors of libraries, shown without their texts: these may quote what could not be read.

pydantic prints its input, `int` and `fromisoformat` quote it, and Redis repeats arguments of a refused command. So an
error of theirs is shown by its type and its place in the code alone.
"""

from __future__ import annotations

import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from redis.exceptions import DataError, RedisError, ResponseError

from emendo_config.errors import EmendoError

# Errors whose text tells of a connection, a file or a module, or is Emendo's own.
_TRUSTED = (EmendoError, OSError, ImportError, RedisError)
_UNTRUSTED = (ResponseError, DataError, UnicodeError)
_WITHHELD = "(its text is not shown, since it may quote what was read)"
_CAUSE = "\nThe above exception was the direct cause of the following exception:\n\n"
_CONTEXT = "\nDuring handling of the above exception, another exception occurred:\n\n"


def is_trusted(error: BaseException) -> bool:
    """True for an error whose text holds no content."""
    return isinstance(error, _TRUSTED) and not isinstance(error, _UNTRUSTED)


def summary(error: BaseException) -> str:
    """The error in one line: its type, and its text if that holds no content."""
    name = type(error).__name__
    return f"{name}: {error}" if is_trusted(error) or _is_of_the_code(error) else f"{name} {_WITHHELD}"


def safe_traceback(error: BaseException) -> str:
    """The traceback of an error and its causes, as Python prints it, without texts that may quote content."""
    parts: list[str] = []
    for each, link in _chain(error):
        parts += [link, "Traceback (most recent call last):\n", *traceback.format_tb(each.__traceback__)]
        parts.append(f"{summary(each)}\n")
    return "".join(parts).rstrip("\n")


def place_of(error: BaseException) -> str:
    """The file and the line that raised the error."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else "an unknown place"


def drop_untrusted_causes(error: BaseException) -> None:
    """Cuts the causes off that may quote content: trackers of errors and Python itself print them with the error."""
    while True:
        if error.__cause__ is not None and not is_trusted(error.__cause__):
            error.__cause__ = None
        if error.__context__ is not None and not is_trusted(error.__context__):
            error.__context__ = None
        following = error.__cause__ or error.__context__
        if following is None:
            return
        error = following


def print_safely() -> None:
    """Lets this process print uncaught errors without texts that may quote content."""

    def show(error: BaseException | None) -> None:
        if error is not None and not isinstance(error, SystemExit | KeyboardInterrupt):
            sys.stderr.write(f"{safe_traceback(error)}\n")

    hook: Callable[..., Any] = lambda _, error, __: show(error)  # noqa: E731
    sys.excepthook = hook
    threading.excepthook = lambda arguments: show(arguments.exc_value)


def _is_of_the_code(error: BaseException) -> bool:
    """True for a missing key that the line of code names itself, or an error that no code raised."""
    if not isinstance(error, LookupError) or isinstance(error, _UNTRUSTED):
        return False
    frames = traceback.extract_tb(error.__traceback__)
    key = str(error.args[0]) if error.args else ""
    return not frames or key in re.findall(r"\w+", frames[-1].line or "")


def _chain(error: BaseException) -> Iterator[tuple[BaseException, str]]:
    """The error after its causes, each with the words that Python puts before it."""
    found: list[tuple[BaseException, str]] = []
    each: BaseException | None = error
    while each is not None and all(each is not known for known, _ in found):
        shown = None if each.__suppress_context__ else each.__context__
        found.append((each, _CAUSE if each.__cause__ is not None else _CONTEXT if shown is not None else ""))
        each = each.__cause__ or shown
    return reversed(found)
