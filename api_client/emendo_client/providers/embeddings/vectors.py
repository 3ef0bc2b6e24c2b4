"""Vectors in their stored form: little-endian numbers, float32 unless their space has another datatype."""

from __future__ import annotations

import array
import math
import struct
import sys
from collections.abc import Sequence
from typing import Any

import pybase64

from emendo_client.errors import EmbeddingError

# The struct module's format characters for the datatypes.
_CODES = {"float32": "f", "float16": "e"}
# The last byte (for both signs) of elements of at least 2^127; infinity and NaN are among them.
_HUGE = (0x7F, 0xFF)
# The same of elements below 2^-63, whose square is 0 in float32: a vector of nothing else has no direction.
_TINY = bytes((*range(0x20), *range(0x80, 0xA0)))
_FIRST = 4 * 16


def little_endian(embedding: Any) -> bytes:
    """A provider's vector as float32 bytes: base64, or a list from a server that ignores the requested format.

    Raises:
        ValueError, TypeError: the value is no vector.
    """
    if isinstance(embedding, str):
        # The standard library takes ten times as long, which would be most of the time of reading an answer.
        return pybase64.b64decode(embedding, validate=True)
    floats = array.array("f", embedding)
    if sys.byteorder == "big":
        floats.byteswap()
    return floats.tobytes()


def elements(vector: bytes, datatype: str) -> tuple[float, ...]:
    """The numbers of a vector, from bytes of this datatype (float32 or float16)."""
    code = _CODES[datatype]
    return struct.unpack(f"<{len(vector) // struct.calcsize(code)}{code}", vector)


def converted(vector: bytes, datatype: str, wanted: str) -> bytes:
    """A vector's bytes in another datatype (float32 or float16).

    Raises:
        EmbeddingError: an element is too large for the datatype.
    """
    if datatype == wanted:
        return vector
    numbers = elements(vector, datatype)
    try:
        packed = struct.pack(f"<{len(numbers)}{_CODES[wanted]}", *numbers)
    except OverflowError:
        raise EmbeddingError(
            f"an element of the vector is too large for {wanted}",
            suggestion="keep this model's vectors as float32",
        ) from None
    if not packed.strip(b"\0\x80") and any(numbers):
        raise EmbeddingError(
            f"the vector's elements are too small for {wanted}", suggestion="keep this model's vectors as float32"
        )
    return packed


def has_zero(vectors: Sequence[bytes]) -> bool:
    """True when one of the vectors has no direction: a cosine with it is not defined, and no search finds it."""
    # The first elements settle nearly every vector.
    return not all(vector[3:_FIRST:4].strip(_TINY) or vector[3::4].strip(_TINY) for vector in vectors)


def are_finite(vectors: Sequence[bytes]) -> bool:
    """True when no element of any vector is NaN or infinite.

    Raises:
        ValueError: a vector is not a whole number of elements.
    """
    return all(map(_is_finite, vectors))


def _is_finite(vector: bytes) -> bool:
    if len(vector) % 4:
        raise ValueError("not a whole number of elements")
    # An embedding's elements are at most 1, so this quick test settles nearly every vector.
    last_bytes = vector[3::4]
    if not any(huge in last_bytes for huge in _HUGE):
        return True
    return all(map(math.isfinite, struct.unpack(f"<{len(vector) // 4}f", vector)))
