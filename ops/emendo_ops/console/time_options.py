"""Points in time as people type them: a time with its zone, or an age."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import click

from emendo_client.errors import ValidationError
from emendo_client.requests import validation

_AGE = re.compile(r"([0-9]{1,9})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def time_or_age(_: click.Context | None, __: click.Parameter | None, value: str | None) -> datetime | None:
    """The point in time that an ISO time with its zone, or an age such as `30d` (s, m, h, d, w), stands for.

    Raises:
        click.BadParameter: the value is neither, or is beyond the calendar.
    """
    if value is None:
        return None
    age = _AGE.fullmatch(value)
    try:
        if age:
            return datetime.now(UTC) - timedelta(**{_UNITS[age[2]]: int(age[1])})
        microseconds = validation.moment(value, "it")
        return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=microseconds)
    except OverflowError:
        raise click.BadParameter("it is beyond the calendar") from None
    except ValidationError as error:
        raise click.BadParameter(f"{error.message}; give a time such as 2026-01-31T12:00Z, or an age: 30d") from None
