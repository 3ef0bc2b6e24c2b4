"""Checks on the arguments that callers give, before anything is enqueued: ids, versions, times, words, flags.

Each function returns the value in the form the rest of the code relies on, or raises ValidationError. The error says
what is wrong and what is allowed. Messages name the field, never its content.
"""

from __future__ import annotations

import builtins
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from emendo_client.errors import ValidationError
from emendo_client.times import iso, microseconds_of
from emendo_config import Settings
from emendo_config.store.formats import split_conflict_id
from emendo_config.visible_text import find_hidden, name_of

ROLES = ("user", "assistant", "system", "tool")
MAX_ID_CHARS = 256
ID_FORM = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}"
JOB_ID_FORM = r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}"
_ID = re.compile(ID_FORM)
_JOB_ID = re.compile(JOB_ID_FORM)
_MARK = re.compile(r"[A-Za-z0-9_.:-]{1,256}")
FORBIDDEN_IN_ID = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
MAX_WHOLE_NUMBER = 2**63 - 1


def settings_given(value: Any) -> Settings:
    """A client's settings. A URL in their place is an easy mistake, so it gets an error of its own."""
    if not isinstance(value, Settings):
        raise ValidationError(
            f"settings is of type {type(value).__name__}; it must be Settings",
            suggestion="MemoryClient(Settings(redis_url=…)), or MemoryClient() for those of the environment",
        )
    return value


def memory_id(value: Any) -> str:
    """A memory id: 1 to 128 letters, digits, `_`, `.` or `-`."""
    suggestion = "use the id a job's result or a search gave: letters, digits, '_', '.', '-', at most 128"
    return _given_id(value, "memory_id", _ID, suggestion)


def job_id(value: Any) -> str:
    """The id of a job, or of a batch job's chunk, which has a `:` in it, too."""
    return _given_id(value, "job_id", _JOB_ID, "use the id that an accepted job or a dead letter has")


def is_job_id(value: str) -> bool:
    """True for the form of a job's id."""
    return _JOB_ID.fullmatch(value) is not None


def _given_id(value: Any, name: str, form: re.Pattern[str], suggestion: str) -> str:
    if not isinstance(value, str):
        raise wrong_type(name, value, "a string")
    if not form.fullmatch(value):
        raise ValidationError(f"{name} is malformed", suggestion=suggestion)
    return str.__str__(value)


def conflict_id(value: Any) -> tuple[str, str]:
    """A conflict's id, as `conflicts()` gives it: the memory's id, and the mark of the submission that waits."""
    if not isinstance(value, str):
        raise wrong_type("conflict_id", value, "a string")
    found, mark = split_conflict_id(value)
    if not _ID.fullmatch(found) or not _MARK.fullmatch(mark):
        raise ValidationError("conflict_id is malformed", suggestion="use an id that conflicts() lists")
    return found, mark


def scope_id(value: Any, name: str, *, is_new: bool = True) -> str | None:
    """A user, agent, run or actor id: up to 256 characters that show something, no white space at its ends, or None.

    Args:
        value: the id.
        name: of the parameter.
        is_new: False admits characters that show nothing, which earlier releases stored: such an id can be found and
            erased.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise wrong_type(name, value, "a string or None")
    if not value or value != value.strip():
        raise ValidationError(
            f"{name} is empty or has white space at an end", suggestion="strip it, or give None for no scope"
        )
    if len(value) > MAX_ID_CHARS:
        raise ValidationError(f"{name} has {len(value)} characters; the limit is {MAX_ID_CHARS}")
    found = FORBIDDEN_IN_ID.search(value)
    if found:
        raise forbidden(name, found)
    require_visible(value, name, is_new=is_new)
    return str.__str__(value)


def require_visible(value: str, name: str, *, is_new: bool = True) -> None:
    """Refuses a name with a character that shows nothing: it would look like another one.

    Raises:
        ValidationError: it has one, such as a joiner, a mark of direction or a tag.
    """
    found = find_hidden(value) if is_new else None
    if found is not None:
        raise ValidationError(
            f"{name} has the character {name_of(found.group())} at position {found.start()}, which shows nothing",
            suggestion="remove it: two ids that look the same would be different",
        )


def scope(user_id: Any, agent_id: Any, run_id: Any, *, required: bool, is_new: bool = True) -> dict[str, str]:
    """Those of user_id, agent_id and run_id that are given; at least one if `required`."""
    given = {
        name: checked
        for name, value in (("user_id", user_id), ("agent_id", agent_id), ("run_id", run_id))
        if (checked := scope_id(value, name, is_new=is_new)) is not None
    }
    if required and not given:
        raise ValidationError(
            "no scope given: user_id, agent_id and run_id are all None",
            suggestion="give at least one of them (reads may say all_users=True instead)",
        )
    return given


def role(value: Any, name: str = "role") -> str | None:
    """A message role, or None."""
    return None if value is None else one_of(value, name, ROLES)


def version(value: Any, name: str) -> int | None:
    """A memory version: a whole number from 1, or None."""
    if value is None:
        return None
    whole = _whole(value, name, "a whole number or None")
    if whole < 1:
        raise ValidationError(f"{name} is {whole}; versions begin with 1")
    return whole


def positive(value: Any, name: str, most: int) -> int:
    """A whole number from 1 to `most`."""
    whole = _whole(value, name, "a whole number")
    if not 1 <= whole <= most:
        raise ValidationError(f"{name} is {whole}; it must be from 1 to {most}")
    return whole


def seconds(value: Any, name: str) -> float:
    """A number of seconds, not below 0."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise wrong_type(name, value, "a number of seconds")
    if not 0 <= value <= MAX_WHOLE_NUMBER:  # NaN is not, either
        raise ValidationError(f"{name} is {value}; it must be a number of seconds from 0", suggestion="e.g. 30.0")
    return float(value)


def number(value: Any, name: str) -> float | None:
    """A finite number, or None."""
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise wrong_type(name, value, "a number or None")
    if not abs(value) <= sys.float_info.max:  # NaN is not, either
        raise ValidationError(f"{name} is {'out of range' if isinstance(value, int) else value}; it must be finite")
    return float(value)


def _whole(value: Any, name: str, expected: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong_type(name, value, expected)
    whole = int(value)  # a plain int: redis-py refuses an enum of numbers
    if abs(whole) > MAX_WHOLE_NUMBER:  # thousands of digits cannot even be printed
        raise ValidationError(f"{name} is beyond 64 bits")
    return whole


def expiry(value: Any) -> str | None:
    """A moment with a time zone, as ISO-8601 UTC with microseconds; None for never."""
    return None if value is None else iso(moment(value, "expires_at"))


def past_expiry() -> ValidationError:
    """The error for an `expires_at` that was over when it was submitted: nobody would ever see the memory."""
    return ValidationError(
        "expires_at is past: the memory would be gone at once",
        suggestion="give a later time, or leave it out; the clock of Redis decides",
    )


def moment(value: Any, name: str) -> int:
    """A moment with a time zone, a datetime or an ISO-8601 string, in microseconds since 1970."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValidationError(
                f"{name} is not an ISO-8601 time", suggestion="write it like 2026-01-31T12:00:00+00:00"
            ) from None
    if not isinstance(value, datetime):
        raise wrong_type(name, value, "a datetime or an ISO-8601 string")
    if value.tzinfo is None:
        raise ValidationError(
            f"{name} has no time zone", suggestion="use datetime.now(UTC) + …, or end the text with Z or +00:00"
        )
    try:
        return microseconds_of(value.astimezone(UTC))
    except OverflowError:
        raise ValidationError(f"{name} is beyond the calendar") from None


def opaque_key(value: Any, name: str) -> str | None:
    """An idempotency key: up to 256 printable characters, or None."""
    return scope_id(value, name)


def one_of(value: Any, name: str, allowed: Sequence[str]) -> str:
    """One of a few words."""
    if not isinstance(value, str) or value not in allowed:
        raise ValidationError(f"{name} is unknown", suggestion=f"use one of {', '.join(allowed)}")
    return str(allowed[list(allowed).index(value)])  # a plain string, not the caller's enum that equals it


def flag(value: Any, name: str) -> bool:
    """True or False; numbers and strings are refused."""
    if not isinstance(value, bool):
        raise wrong_type(name, value, "True or False")
    return value


def wrong_type(name: str, value: Any, expected: str, suggestion: str | None = None) -> ValidationError:
    """The error for a value of a type that is not expected."""
    kind = type(value)
    # numpy has a bool, too.
    is_taken = kind.__module__ != "builtins" and hasattr(builtins, kind.__name__)
    shown = f"{kind.__module__}.{kind.__name__}" if is_taken else kind.__name__
    return ValidationError(f"{name} is of type {shown}; it must be {expected}", suggestion=suggestion)


def forbidden(name: str, found: re.Match[str]) -> ValidationError:
    """The error for a text with a character that no text may have."""
    return ValidationError(
        f"{name} has the character U+{ord(found.group()):04X} at position {found.start()}, which is not text",
        suggestion="remove control characters and lone surrogates",
    )
