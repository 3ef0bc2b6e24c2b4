"""Deterministic embeddings for tests: texts that share words are near one another, equal texts equal."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Any

_WORD = re.compile(r"\w+")
_TRIGRAM = 3


@lru_cache(maxsize=65_536)
def embed(text: str, *, model: str = "text-embedding-3-small", dimensions: int = 1536) -> bytes:
    """The vector of a text: float32[dimensions], little-endian, of length 1.

    A hashed bag of words and of character trigrams (for scripts without spaces); another model or
    dimension gives an unrelated vector.
    """
    import numpy as np

    total = np.zeros(dimensions, dtype=np.float64)
    for feature in _features(text):
        total += _direction(feature, model, dimensions)
    length = float(np.linalg.norm(total))
    unit = total / length if length else _direction(text, model, dimensions)
    vector: bytes = unit.astype("<f4").tobytes()
    return vector


def _features(text: str) -> list[str]:
    folded = text.casefold()
    words = _WORD.findall(folded)
    trigrams = [word[i : i + _TRIGRAM] for word in words if not word.isascii() for i in range(len(word) - 1)]
    return words + trigrams


@lru_cache(maxsize=32_768)
def _direction(feature: str, model: str, dimensions: int) -> Any:
    """A fixed pseudo-random unit vector for one word."""
    import numpy as np

    digest = hashlib.shake_256(f"{model}\0{dimensions}\0{feature}".encode()).digest(dimensions)
    centred = np.frombuffer(digest, dtype=np.uint8).astype(np.float64) - 127.5
    return centred / np.linalg.norm(centred)
