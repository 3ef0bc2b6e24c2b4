"""Vectors as they are stored: little-endian, nothing but numbers, float32 unless their space is of another datatype."""

from __future__ import annotations

import array
import math
import struct
import sys
from collections.abc import Sequence
from typing import Any

import pybase64

from emendo_client.errors import EmbeddingError

# How the struct module calls the elements of a datatype.
_CODES = {"float32": "f", "float16": "e"}
# The last byte, with either sign, of elements of at least 2^127: only among these are infinity and NaN.
_HUGE = (0x7F, 0xFF)


def little_endian(embedding: Any) -> bytes:
    """A provider's vector as float32 bytes: base64 goes straight through; a list is for servers that ignore the format.

    Raises:
        ValueError, TypeError: it is no vector.
    """
    if isinstance(embedding, str):
        # The standard library takes ten times as long, which is most of what reading an answer costs.
        return pybase64.b64decode(embedding, validate=True)
    floats = array.array("f", embedding)
    if sys.byteorder == "big":
        floats.byteswap()
    return floats.tobytes()


def elements(vector: bytes, datatype: str) -> tuple[float, ...]:
    """A vector's numbers, from bytes of this datatype (float32 or float16)."""
    code = _CODES[datatype]
    return struct.unpack(f"<{len(vector) // struct.calcsize(code)}{code}", vector)


def converted(vector: bytes, datatype: str, wanted: str) -> bytes:
    """A vector's bytes in another datatype (float32 or float16).

    Raises:
        EmbeddingError: an element is too large for it.
    """
    if datatype == wanted:
        return vector
    numbers = elements(vector, datatype)
    try:
        return struct.pack(f"<{len(numbers)}{_CODES[wanted]}", *numbers)
    except OverflowError:
        raise EmbeddingError(
            f"an element of the vector is too large for {wanted}",
            suggestion="keep this model's vectors as float32",
        ) from None


def are_finite(vectors: Sequence[bytes]) -> bool:
    """True when no element of any vector is NaN or infinite.

    Raises:
        ValueError: a vector is not a whole number of elements.
    """
    return all(map(_is_finite, vectors))


def _is_finite(vector: bytes) -> bool:
    if len(vector) % 4:
        raise ValueError("not a whole number of elements")
    # An embedding's elements are at most 1, so that nearly always none needs to be looked at by itself.
    last_bytes = vector[3::4]
    if not any(huge in last_bytes for huge in _HUGE):
        return True
    return all(map(math.isfinite, struct.unpack(f"<{len(vector) // 4}f", vector)))
