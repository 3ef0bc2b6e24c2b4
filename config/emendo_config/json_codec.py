"""JSON as Emendo stores it: without spaces, non-ASCII text as it is. Pydantic's library does it, for speed."""

from __future__ import annotations

from functools import partial
from typing import Any

from pydantic_core import from_json, to_json

# Repeated names of fields are made once; values are not cached.
read_json = partial(from_json, cache_strings="keys")


def compact_json(value: Any) -> str:
    """The value as JSON.

    Raises:
        ValueError: JSON cannot carry a part of it.
    """
    return to_json(value).decode()
