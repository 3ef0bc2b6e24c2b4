"""The values that a filter's conditions compare with, checked, and in the form that the tree has them. Pure."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from emendo_client.errors import ValidationError
from emendo_client.requests import content, validation
from emendo_client.requests.filtering.nodes import Span
from emendo_client.times import iso, microseconds_of, stored_moment

MAX_VALUE_CHARS = 1_024
_DAY = 86_400_000_000
# A number from here on counts milliseconds: as seconds it would be a time of the year 5138 or later.
_MILLISECONDS_FROM = 100_000_000_000


def moment(value: Any, where: str) -> Span:
    """A moment or a day: an ISO-8601 string, a datetime, a date, or seconds or milliseconds since 1970."""
    if isinstance(value, datetime | date):
        return _calendar(value, where)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _epoch(value, where)
    if not isinstance(value, str):
        raise validation.wrong_type(where, value, "an ISO-8601 string, a datetime, a date, or seconds since 1970")
    found = stored_moment(value)
    if found is None:
        raise ValidationError(
            f"{where} is not an ISO-8601 time", suggestion='for example "2026-01-31" or "2026-01-31T12:00:00Z"'
        )
    return _span(found, where, is_day=_is_day(value))


def identifier(value: Any, where: str) -> str:
    """An id or a role."""
    checked = validation.scope_id(value, where, is_new=False) if value is None or isinstance(value, str) else None
    if checked is None:
        raise ValidationError(
            f"{where} is of type {type(value).__name__}; it must be a string",
            suggestion='for a memory without it: {"exists": False}',
        )
    return checked


def part(value: Any, where: str) -> str:
    """A text that another one contains."""
    if not isinstance(value, str):
        raise validation.wrong_type(where, value, "one string that is not empty; for several, use AND or OR")
    if not value:
        raise ValidationError(
            f"{where} is empty, and each string has the empty one in it", suggestion='or use {"exists": True}'
        )
    return str(scalar(value, where))


def scalar(value: Any, where: str) -> Any:
    """A metadata value that stands for itself: a string, number, boolean or None; a datetime or date as a Span."""
    if isinstance(value, datetime | date):
        return _calendar(value, where)
    if isinstance(value, dict | list | tuple | set | frozenset):
        raise ValidationError(
            f"{where} compares with a {type(value).__name__}, which is no single value",
            suggestion="use strings, numbers, booleans, times or None; the path a.b reaches into an object",
        )
    checked = content.json_value(value, where)
    if isinstance(checked, str) and len(checked) > MAX_VALUE_CHARS:
        raise ValidationError(f"{where} has a value of {len(checked)} characters; the limit is {MAX_VALUE_CHARS}")
    return checked


def limit(value: Any, where: str) -> Span | float | str:
    """A limit of a range: a number, or a string, or a time. A string that is an ISO-8601 time is a time."""
    checked = scalar(value, where)
    if isinstance(checked, str):
        found = stored_moment(checked)
        return checked if found is None else _span(found, where, is_day=_is_day(checked))
    if isinstance(checked, bool) or not isinstance(checked, Span | int | float):
        raise validation.wrong_type(where, value, "a number, a string or a time: ranges have no other limits")
    return checked


def _calendar(value: date, where: str) -> Span:
    if not isinstance(value, datetime):
        return _span(microseconds_of(datetime(value.year, value.month, value.day, tzinfo=UTC)), where, is_day=True)
    return _span(validation.moment(value, where), where, is_day=False)


def _epoch(value: float, where: str) -> Span:
    unit = 1_000 if abs(value) >= _MILLISECONDS_FROM else 1_000_000
    try:
        return _span(round(value * unit), where, is_day=False)
    except (ValueError, OverflowError):  # NaN, infinity
        raise ValidationError(f"{where} is beyond the calendar") from None


def _span(first: int, where: str, *, is_day: bool) -> Span:
    last = first + _DAY - 1 if is_day else first
    try:
        iso(first), iso(last)
    except OverflowError:
        raise ValidationError(f"{where} is beyond the calendar") from None
    return Span(first, last)


def _is_day(value: str) -> bool:
    return len(value) == len("2026-01-31")
