"""Times: inside, microseconds of the control Redis's clock; outside, ISO-8601 UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ISO_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ].+)?")


# Cached because one change writes its submission time into several fields.
@lru_cache(256)
def iso(microseconds: int) -> str:
    """Microseconds since the epoch as ISO-8601 UTC, always with six decimals so that text order is time order."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return f"{_second(seconds)}.{rest:06d}+00:00"


# Cached because the items of a batch are submitted within a second or two.
@lru_cache(64)
def _second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None).isoformat()


def microseconds_of(moment: datetime) -> int:
    """The inverse of `iso`."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def moment_of(stored: str) -> datetime | None:
    """The time that a record stores in microseconds; None for an empty field."""
    return datetime.fromisoformat(iso(int(stored))) if stored else None


@lru_cache(1_024)
def stored_moment(value: str) -> int | None:
    """An ISO-8601 date or time in microseconds since the epoch, in UTC unless it says otherwise; None for another text.

    A date is its first moment.
    """
    if not _ISO_TIME.fullmatch(value):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return microseconds_of(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
