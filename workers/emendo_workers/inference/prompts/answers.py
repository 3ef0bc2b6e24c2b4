"""Types of an answer's parts: strict in the schema, lenient in reading, so that one bad part does not spoil all."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator

# Replaces an answer that is no number; numbers shown to the model begin with 1.
NO_NUMBER = 0


def _number(value: Any) -> Any:
    """Small models write numbers as strings, and leave out what they do not know."""
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value) if len(value) < 10 else NO_NUMBER  # noqa: PLR2004  # longer than any number shown
    return value if isinstance(value, int) and not isinstance(value, bool) else NO_NUMBER


def _maybe_number(value: Any) -> Any:
    return None if value is None else _number(value)


def _maybe_text(value: Any) -> Any:
    return value if isinstance(value, str) else None


def _text(value: Any) -> Any:
    return value if isinstance(value, str) else ""


Number = Annotated[int, BeforeValidator(_number)]
MaybeNumber = Annotated[int | None, BeforeValidator(_maybe_number)]
Text = Annotated[str, BeforeValidator(_text)]
MaybeText = Annotated[str | None, BeforeValidator(_maybe_text)]
