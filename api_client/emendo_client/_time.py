"""Times in Emendo: microseconds of the control Redis's clock inside, ISO-8601 UTC outside."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


# One change writes the moment of its submission in several places.
@lru_cache(256)
def iso(microseconds: int) -> str:
    """Microseconds since the epoch as ISO-8601 UTC, always with six decimals so that text order is time order."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return f"{_second(seconds)}.{rest:06d}+00:00"


# The items of one batch are submitted within a second or two.
@lru_cache(64)
def _second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None).isoformat()


def microseconds_of(moment: datetime) -> int:
    """The inverse of `iso`."""
    return (moment - _EPOCH) // timedelta(microseconds=1)
