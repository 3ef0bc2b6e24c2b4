"""When two texts are taken for one fact. Pure."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

_NUMBER = re.compile(r"\d+")
_FULL_STOPS = ".!。！ "


def spelling(text: str) -> str:
    """The text without what changes no fact: how characters are composed, case, white space, the full stop."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).rstrip(_FULL_STOPS)


def is_near(text: str, other: str, score: float, threshold: float) -> bool:
    """True when two texts say nearly the same.

    Other numbers make another fact, however near the vectors are: those of two dates nearly coincide.

    Args:
        score: the cosine similarity of the texts.
        threshold: the least that will do.
    """
    return score >= threshold and sorted(_NUMBER.findall(text)) == sorted(_NUMBER.findall(other))


class Added:
    """The memories that are about to be added to one scope, which no search finds yet.

    Args:
        threshold: of `is_near`.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._spelt: dict[str, str] = {}
        self._near: list[tuple[str, str, Any]] = []

    def put(self, memory_id: str, text: str, vector: bytes | None) -> None:
        """Remembers one; the vector is float32[dimensions]."""
        self._spelt.setdefault(spelling(text), memory_id)
        if vector is not None:
            self._near.append((memory_id, text, _direction(vector)))

    def same(self, text: str) -> str | None:
        """The id of one that says the text."""
        return self._spelt.get(spelling(text))

    def near(self, text: str, vector: bytes | None) -> str | None:
        """The id of one that says nearly the same."""
        if vector is None or not self._near:
            return None
        direction = _direction(vector)
        for memory_id, said, other in self._near:
            if is_near(text, said, float(direction @ other), self._threshold):
                return memory_id
        return None


def _direction(vector: bytes) -> Any:
    import numpy as np

    values = np.frombuffer(vector, dtype="<f4")
    return values / (np.linalg.norm(values) or 1.0)
