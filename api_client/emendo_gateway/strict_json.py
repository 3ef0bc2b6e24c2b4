"""Reads bodies as JSON that has one meaning only: no name twice, no NaN, no infinity.

Python's reader takes the last of two values of the same name. Another program before the gateway may take the first.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from emendo_client.errors import ValidationError


def loads(body: bytes) -> Any:
    """The value that a body holds.

    Raises:
        ValidationError: it has more than one meaning, or none.
        ValueError, RecursionError: it is no JSON that can be read.
    """
    return _DECODER.decode(body.decode("utf-8-sig"))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValidationError("an object of the body has a name twice", suggestion="give each name once")
    return found


def _refuse_constant(_: str) -> NoReturn:
    raise ValidationError(
        "the body has NaN or Infinity, which JSON does not know", suggestion="send null, or leave it out"
    )


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValidationError("the body has a number that is too large", suggestion="send it as a text")
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite)
