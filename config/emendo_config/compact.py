"""JSON as everything of ours is stored: without spaces, text as it is. By the library of pydantic, for its speed."""

from __future__ import annotations

from functools import partial
from typing import Any

from pydantic_core import from_json, to_json

# Repeated names are made once; what is long is not looked for among what was seen before.
read_json = partial(from_json, cache_strings="keys")


def compact_json(value: Any) -> str:
    """The value as JSON.

    Raises:
        ValueError: it holds what JSON cannot carry.
    """
    return to_json(value).decode()
