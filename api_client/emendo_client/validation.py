"""Checks on what callers send, all before anything is enqueued.

Each function returns the value in the form the rest of the code relies on, or raises ValidationError
saying what was wrong and what is allowed. Messages name the field, never its content.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from emendo_client._time import iso, microseconds_of
from emendo_client.errors import ValidationError
from emendo_client.records import split_conflict_id
from emendo_config import Settings

ROLES = ("user", "assistant", "system", "tool")
STORED_ROLES = ("user", "assistant")
IDENTITY_KEYS = frozenset({"id", "user_id", "agent_id", "run_id", "actor_id", "project"})
MAX_ID_CHARS = 256
MAX_INSTRUCTIONS_CHARS = 4_000
MAX_CATEGORIES = 50
MAX_CATEGORY_CHARS = 64
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")
_MARK = re.compile(r"[A-Za-z0-9_.:-]{1,256}")
# Tabs and line breaks are text; other C0/C1 controls and lone surrogates are broken input.
_FORBIDDEN_IN_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_FORBIDDEN_IN_ID = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
MAX_METADATA_DEPTH = 16
MAX_WHOLE_NUMBER = 2**63 - 1


def settings_given(value: Any) -> Settings:
    """What a client is made with; a URL in its place is a mistake that is easily made."""
    if not isinstance(value, Settings):
        raise ValidationError(
            f"settings is of type {type(value).__name__}; it must be Settings",
            suggestion="MemoryClient(Settings(redis_url=…)), or MemoryClient() for those of the environment",
        )
    return value


def text(value: Any, name: str, settings: Settings) -> str:
    """A memory text: not blank, within the limit, no control characters or lone surrogates."""
    return _text(value, name, settings.max_text_chars, "split the text, or raise EMENDO_MAX_TEXT_CHARS")


def _text(value: Any, name: str, limit: int, when_longer: str) -> str:
    if not isinstance(value, str):
        raise _wrong_type(name, value, "a string")
    if len(value) > limit:
        raise ValidationError(f"{name} has {len(value)} characters; the limit is {limit}", suggestion=when_longer)
    found = _FORBIDDEN_IN_TEXT.search(value)
    if found:
        raise _forbidden(name, found)
    if not any(map(_is_visible, value)):
        raise ValidationError(f"{name} is empty", suggestion="give at least one visible character")
    return value


def _is_visible(character: str) -> bool:
    # Separators, controls and format characters show nothing; what this Python does not know yet may well.
    return unicodedata.category(character) not in ("Zs", "Zl", "Zp", "Cc", "Cf")


def instructions(value: Any) -> str:
    """A project's instructions for the chat model, up to 4,000 characters; an empty string for none."""
    if value == "":
        return ""
    return _text(value, "instructions", MAX_INSTRUCTIONS_CHARS, "say it in fewer words")


def categories(value: Any) -> list[str]:
    """Names of a project's categories: up to 50 of up to 64 characters; upper and lower case tell none apart."""
    if not isinstance(value, list | tuple):
        raise _wrong_type("categories", value, "a list of names")
    if len(value) > MAX_CATEGORIES:
        raise ValidationError(f"categories has {len(value)} names; the limit is {MAX_CATEGORIES}")
    names = [_category(name, f"categories[{index}]") for index, name in enumerate(value)]
    if len({name.casefold() for name in names}) < len(names):
        raise ValidationError(
            "categories has a name twice", suggestion="give each once; upper and lower case do not tell them apart"
        )
    return names


def _category(value: Any, name: str) -> str:
    checked = _text(value, name, MAX_CATEGORY_CHARS, "use a short name")
    found = _FORBIDDEN_IN_ID.search(checked)
    if found:
        raise _forbidden(name, found)
    if checked != checked.strip():
        raise ValidationError(f"{name} has white space at an end", suggestion="strip it")
    return checked


def memory_id(value: Any) -> str:
    """A memory id: 1 to 128 letters, digits, `_`, `.` or `-`."""
    suggestion = "use the id a job's result or a search gave: letters, digits, '_', '.', '-', at most 128"
    return _given_id(value, "memory_id", _ID, suggestion)


def job_id(value: Any) -> str:
    """The id of a job, or of a batch job's chunk, which has a `:` in it, too."""
    return _given_id(value, "job_id", _JOB_ID, "use the id that an accepted job or a dead letter has")


def _given_id(value: Any, name: str, form: re.Pattern[str], suggestion: str) -> str:
    if not isinstance(value, str):
        raise _wrong_type(name, value, "a string")
    if not form.fullmatch(value):
        raise ValidationError(f"{name} is malformed", suggestion=suggestion)
    return str.__str__(value)


def conflict_id(value: Any) -> tuple[str, str]:
    """A conflict's id, as `conflicts()` gives it: the memory's id, and the mark of the submission that waits."""
    if not isinstance(value, str):
        raise _wrong_type("conflict_id", value, "a string")
    found, mark = split_conflict_id(value)
    if not _ID.fullmatch(found) or not _MARK.fullmatch(mark):
        raise ValidationError("conflict_id is malformed", suggestion="use an id that conflicts() lists")
    return found, mark


def scope_id(value: Any, name: str) -> str | None:
    """A user, agent, run or actor id: up to 256 characters, nothing invisible at its ends, or None."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise _wrong_type(name, value, "a string or None")
    if not value or value != value.strip():
        raise ValidationError(
            f"{name} is empty or has white space at an end", suggestion="strip it, or give None for no scope"
        )
    if len(value) > MAX_ID_CHARS:
        raise ValidationError(f"{name} has {len(value)} characters; the limit is {MAX_ID_CHARS}")
    found = _FORBIDDEN_IN_ID.search(value)
    if found:
        raise _forbidden(name, found)
    return str.__str__(value)


def scope(user_id: Any, agent_id: Any, run_id: Any, *, required: bool) -> dict[str, str]:
    """The given ones of user_id, agent_id and run_id; at least one when `required`."""
    given = {
        name: checked
        for name, value in (("user_id", user_id), ("agent_id", agent_id), ("run_id", run_id))
        if (checked := scope_id(value, name)) is not None
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


def metadata(value: Any, settings: Settings, *, none_removes: bool) -> dict[str, Any] | None:
    """Metadata: a JSON object within the size limit and without identity keys, or None.

    Args:
        none_removes: True for updates, where a key set to None is removed; else such keys are dropped.
    """
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise _wrong_type("metadata", value, "a mapping of strings to JSON values, or None")
    document = dict(json_value(value, "metadata"))
    identity = sorted(IDENTITY_KEYS & document.keys())
    if identity:
        raise ValidationError(
            f"metadata holds identity keys: {', '.join(identity)}",
            suggestion="pass them as arguments of their own; a memory's owner never changes",
        )
    size = len(json.dumps(document, ensure_ascii=False).encode())
    if size > settings.max_metadata_bytes:
        raise ValidationError(
            f"metadata has {size} bytes as JSON; the limit is {settings.max_metadata_bytes}",
            suggestion="keep large values elsewhere, or raise EMENDO_MAX_METADATA_BYTES",
        )
    return document if none_removes else {key: item for key, item in document.items() if item is not None}


def messages(value: Any, settings: Settings) -> list[dict[str, str]]:
    """The messages of a conversation that can be memories: not those of the system and of tools, which are context."""
    return [message for message in conversation(value, settings) if message["role"] in STORED_ROLES]


def conversation(value: Any, settings: Settings) -> list[dict[str, str]]:
    """Messages as a list of {role, content[, name]}: a string is one user message, a mapping a list of one."""
    if isinstance(value, str):
        value = [{"role": "user", "content": value}]
    elif isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, Sequence) or isinstance(value, bytes):
        raise _wrong_type("messages", value, "a string, a message or a list of messages")
    if len(value) > settings.max_messages:
        raise ValidationError(
            f"messages holds {len(value)} messages; the limit is {settings.max_messages}",
            suggestion="send several adds, or raise EMENDO_MAX_MESSAGES",
        )
    checked = [_message(item, f"messages[{index}]", settings) for index, item in enumerate(value)]
    if not any(item["role"] in STORED_ROLES for item in checked):
        raise ValidationError(
            "messages holds nothing to remember", suggestion="give at least one user or assistant message"
        )
    return checked


def _message(item: Any, name: str, settings: Settings) -> dict[str, str]:
    if not isinstance(item, Mapping):
        raise _wrong_type(name, item, "a mapping with role and content")
    unknown = sorted(ascii(key) for key in item.keys() - {"role", "content", "name"})
    if unknown:
        raise ValidationError(
            f"{name} has unknown keys: {', '.join(unknown)}",
            suggestion="a message has role, content and name",
        )
    if "role" not in item or item["role"] is None:
        raise ValidationError(f"{name}.role is missing", suggestion=f"use one of {', '.join(ROLES)}")
    message = {
        "role": str(role(item["role"], f"{name}.role")),
        "content": text(item.get("content"), f"{name}.content", settings),
    }
    actor = scope_id(item.get("name"), f"{name}.name")
    if actor:
        message["name"] = actor
    return message


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
        raise _wrong_type(name, value, "a number of seconds")
    if not 0 <= value <= MAX_WHOLE_NUMBER:  # NaN is not, either
        raise ValidationError(f"{name} is {value}; it must be a number of seconds from 0", suggestion="e.g. 30.0")
    return float(value)


def _whole(value: Any, name: str, expected: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong_type(name, value, expected)
    whole = int(value)  # ours: redis-py refuses an enum that merely is a number
    if abs(whole) > MAX_WHOLE_NUMBER:  # thousands of digits cannot even be printed
        raise ValidationError(f"{name} is beyond 64 bits")
    return whole


def expiry(value: Any) -> str | None:
    """A moment with a time zone, as ISO-8601 UTC with microseconds; None for never."""
    return None if value is None else iso(moment(value, "expires_at"))


def moment(value: Any, name: str) -> int:
    """A moment with a time zone, a datetime or an ISO-8601 string, in microseconds since 1970."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValidationError(f"{name} is not an ISO-8601 time") from None
    if not isinstance(value, datetime):
        raise _wrong_type(name, value, "a datetime or an ISO-8601 string")
    if value.tzinfo is None:
        raise ValidationError(f"{name} has no time zone", suggestion="use datetime.now(UTC) + …")
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
    return str(allowed[list(allowed).index(value)])  # ours, not the caller's enum that equals it


def flag(value: Any, name: str) -> bool:
    """True or False, and nothing that merely looks like it."""
    if not isinstance(value, bool):
        raise _wrong_type(name, value, "True or False")
    return value


def json_value(value: Any, name: str, depth: int = 0) -> Any:
    """The value as plain JSON types; refuses what JSON cannot carry before json.dumps would quietly change it."""
    if depth > MAX_METADATA_DEPTH:
        raise ValidationError(f"{name} is nested deeper than {MAX_METADATA_DEPTH} levels")
    if isinstance(value, Mapping):
        return {_json_key(key, name): json_value(item, name, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(item, name, depth + 1) for item in value]
    if isinstance(value, str):
        found = _FORBIDDEN_IN_TEXT.search(value)
        if found:
            raise _forbidden(f"a value of {name}", found)
        return str.__str__(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValidationError(f"{name} holds NaN or infinity, which JSON cannot carry")
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_WHOLE_NUMBER:
        raise ValidationError(f"{name} holds a whole number beyond 64 bits", suggestion="give it as a string")
    if value is not None and not isinstance(value, bool | int | float):
        raise _wrong_type(f"a value of {name}", value, "a JSON value")
    return value


def _json_key(key: Any, name: str) -> str:
    if not isinstance(key, str) or not key:
        raise ValidationError(f"{name} has a key that is not a non-empty string")
    found = _FORBIDDEN_IN_TEXT.search(key)
    if found:
        raise _forbidden(f"a key of {name}", found)
    return key


def _wrong_type(name: str, value: Any, expected: str) -> ValidationError:
    return ValidationError(f"{name} is of type {type(value).__name__}; it must be {expected}")


def _forbidden(name: str, found: re.Match[str]) -> ValidationError:
    return ValidationError(
        f"{name} has the character U+{ord(found.group()):04X} at position {found.start()}, which is not text",
        suggestion="remove control characters and lone surrogates",
    )
