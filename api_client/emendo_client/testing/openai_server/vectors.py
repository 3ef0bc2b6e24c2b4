"""Deterministic embeddings for tests: texts with common words are close, equal texts have equal vectors."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Any

_WORD = re.compile(r"\w+")
_TRIGRAM = 3
# Cache sizes. At 1536 dimensions a text takes 6 KB and a word 3 KB: at most 12 and 24 MB.
_TEXTS = 2_048
_WORDS = 8_192
# The sum of this many elements of -128..127 fits in 16 bits, where adding is fastest.
_SAFE_IN_16_BITS = 255


@lru_cache(maxsize=_TEXTS)
def embed(text: str, *, model: str = "text-embedding-3-small", dimensions: int = 1536) -> bytes:
    """The vector of a text: float32[dimensions], little-endian, of length 1.

    A hashed bag of words and of character trigrams (for scripts without spaces); another model or
    dimension gives an unrelated vector.
    """
    import numpy as np

    features = _features(text) or [f"\0{text}"]  # a text without words still equals itself
    total = np.zeros(dimensions, dtype=np.int16 if len(features) <= _SAFE_IN_16_BITS else np.int64)
    for feature in features:
        np.add(total, _direction(feature, model, dimensions), out=total)
    if not total.any():  # words that cancel out, in very few dimensions
        total[0] = 1
    exact = total.astype(np.float32)
    vector: bytes = (exact / np.sqrt(np.square(exact).sum())).astype("<f4", copy=False).tobytes()
    return vector


def _features(text: str) -> list[str]:
    words = _WORD.findall(text.casefold())
    trigrams = [word[i : i + _TRIGRAM] for word in words if not word.isascii() for i in range(len(word) - 1)]
    return words + trigrams


@lru_cache(maxsize=_WORDS)
def _direction(feature: str, model: str, dimensions: int) -> Any:
    """A fixed pseudo-random direction for one word: int16[dimensions], of -128..127."""
    import numpy as np

    digest = hashlib.shake_256(f"{model}\0{dimensions}\0{feature}".encode()).digest(dimensions)
    return np.frombuffer(digest, dtype=np.int8).astype(np.int16)
