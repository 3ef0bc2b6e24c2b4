"""Checks on the content that callers send: texts, metadata, and a project's rules.

As in `validation`, each function returns the value in the form the rest of the code relies on, or raises
ValidationError. Messages name the field, never its content.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

from emendo_client.errors import ValidationError
from emendo_client.requests.validation import (
    FORBIDDEN_IN_ID,
    MAX_WHOLE_NUMBER,
    forbidden,
    require_visible,
    wrong_type,
)
from emendo_config import Settings

STORED_ROLES = ("user", "assistant")
IDENTITY_KEYS = frozenset({"id", "user_id", "agent_id", "run_id", "actor_id", "project"})
MAX_INSTRUCTIONS_CHARS = 4_000
MAX_CATEGORIES = 50
MAX_CATEGORY_CHARS = 64
MAX_METADATA_DEPTH = 16
MAX_METADATA_VALUES = 500_000
# Tabs and line breaks are text; other C0/C1 controls and lone surrogates are broken input.
_FORBIDDEN_IN_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def text(value: Any, name: str, settings: Settings) -> str:
    """A memory text: not blank, within the limit, no control characters or lone surrogates."""
    return _text(value, name, settings.max_text_chars, "split the text, or raise EMENDO_MAX_TEXT_CHARS")


def metadata(value: Any, settings: Settings, *, none_removes: bool) -> dict[str, Any] | None:
    """Metadata: a JSON object within the size limit and without identity keys, or None.

    Args:
        none_removes: True for updates, where a key set to None is removed; else such keys are dropped.
    """
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise wrong_type("metadata", value, "a mapping of strings to JSON values, or None")
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


def json_value(value: Any, name: str, depth: int = 0, room: Iterator[int] | None = None) -> Any:
    """The value as plain JSON types. Refuses values that json.dumps would silently change.

    Args:
        value: of a caller.
        name: of its parameter.
        depth: of the value in it.
        room: for further values. Lists that stand in each other several times may be a great many.
    """
    if depth > MAX_METADATA_DEPTH:
        raise ValidationError(f"{name} is nested deeper than {MAX_METADATA_DEPTH} levels")
    room = iter(range(MAX_METADATA_VALUES)) if room is None else room
    if next(room, None) is None:
        raise ValidationError(f"{name} holds more than {MAX_METADATA_VALUES:,} values")
    if isinstance(value, Mapping):
        return {
            # A key that an earlier release stored can be removed.
            _json_key(key, name, is_new=item is not None): json_value(item, name, depth + 1, room)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [json_value(item, name, depth + 1, room) for item in value]
    if isinstance(value, str):
        found = _FORBIDDEN_IN_TEXT.search(value)
        if found:
            raise forbidden(f"a value of {name}", found)
        return str.__str__(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValidationError(f"{name} holds NaN or infinity, which JSON cannot carry")
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_WHOLE_NUMBER:
        raise ValidationError(f"{name} holds a whole number beyond 64 bits", suggestion="give it as a string")
    if value is not None and not isinstance(value, bool | int | float):
        raise wrong_type(f"a value of {name}", value, "a JSON value", _as_json(value))
    return value


def _as_json(value: Any) -> str:
    """The advice for a value that JSON does not have."""
    if hasattr(value, "isoformat"):
        return "give its isoformat(), which filters read as a time"
    if hasattr(value, "tolist"):  # numpy's arrays and numbers
        return "give its tolist()"
    if hasattr(value, "model_dump"):  # pydantic's models
        return 'give its model_dump(mode="json")'
    if isinstance(value, set | frozenset):
        return "give a list"
    if isinstance(value, Enum):
        return "give its value"
    return "give a text, a number, True, False, None, a list or a mapping; str(value) makes a text of most things"


def _json_key(key: Any, name: str, *, is_new: bool) -> str:
    if not isinstance(key, str) or not key:
        raise ValidationError(f"{name} has a key that is not a non-empty string")
    found = _FORBIDDEN_IN_TEXT.search(key)
    if found:
        raise forbidden(f"a key of {name}", found)
    require_visible(key, f"a key of {name}", is_new=is_new)
    return key


def instructions(value: Any) -> str:
    """A project's instructions for the chat model, up to 4,000 characters; an empty string for none."""
    if value == "":
        return ""
    return _text(value, "instructions", MAX_INSTRUCTIONS_CHARS, "say it in fewer words")


def categories(value: Any) -> list[str]:
    """Names of a project's categories: up to 50 of up to 64 characters, unique whatever their case."""
    if not isinstance(value, list | tuple):
        raise wrong_type("categories", value, "a list of names")
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
    found = FORBIDDEN_IN_ID.search(checked)
    if found:
        raise forbidden(name, found)
    require_visible(checked, name)
    if checked != checked.strip():
        raise ValidationError(f"{name} has white space at an end", suggestion="strip it")
    return checked


def _text(value: Any, name: str, limit: int, when_longer: str) -> str:
    if not isinstance(value, str):
        raise wrong_type(name, value, "a string")
    if len(value) > limit:
        raise ValidationError(f"{name} has {len(value)} characters; the limit is {limit}", suggestion=when_longer)
    found = _FORBIDDEN_IN_TEXT.search(value)
    if found:
        raise forbidden(name, found)
    if is_blank(value):
        raise ValidationError(f"{name} is empty", suggestion="give at least one visible character")
    return value


def is_blank(value: str) -> bool:
    """True for a text that shows nothing; one with characters that are no text is malformed instead."""
    return not any(map(_is_visible, value)) and _FORBIDDEN_IN_TEXT.search(value) is None


def _is_visible(character: str) -> bool:
    # Separators, controls and format characters show nothing. Characters newer than this Python's tables may.
    return unicodedata.category(character) not in ("Zs", "Zl", "Zp", "Cc", "Cf")
