"""When two texts are taken for the same fact. Pure."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

_NUMBER = re.compile(r"\d+")
_FULL_STOPS = ".!。！ "


def normalized(text: str) -> str:
    """The text without differences that change no fact: Unicode composition, case, white space, the full stop."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).rstrip(_FULL_STOPS)


def is_near_duplicate(text: str, other: str, score: float, threshold: float) -> bool:
    """True when two texts state nearly the same.

    Texts with different numbers are different facts however near their vectors are: those of two dates nearly coincide.

    Args:
        score: the cosine similarity of the texts.
        threshold: the least score of a near duplicate.
    """
    return score >= threshold and sorted(_NUMBER.findall(text)) == sorted(_NUMBER.findall(other))


class PendingAdds:
    """The memories about to be added to one scope; no search finds them yet.

    Args:
        threshold: of `is_near_duplicate`.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._by_text: dict[str, str] = {}
        self._vectors: list[tuple[str, str, Any]] = []

    def add(self, memory_id: str, text: str, vector: bytes | None) -> None:
        """Takes one in; the vector is float32[dimensions]."""
        self._by_text.setdefault(normalized(text), memory_id)
        if vector is not None:
            self._vectors.append((memory_id, text, _unit_vector(vector)))

    def discard(self, memory_id: str) -> None:
        """Drops one that is not added after all, or is gone again."""
        self._by_text = {text: added for text, added in self._by_text.items() if added != memory_id}
        self._vectors = [each for each in self._vectors if each[0] != memory_id]

    def find_same(self, text: str) -> str | None:
        """The id of one with the same text, once both are normalized."""
        return self._by_text.get(normalized(text))

    def find_near(self, text: str, vector: bytes | None) -> str | None:
        """The id of a near duplicate."""
        if vector is None or not self._vectors:
            return None
        unit = _unit_vector(vector)
        for memory_id, added, other in self._vectors:
            if is_near_duplicate(text, added, float(unit @ other), self._threshold):
                return memory_id
        return None


def _unit_vector(vector: bytes) -> Any:
    import numpy as np

    values = np.frombuffer(vector, dtype="<f4")
    return values / (np.linalg.norm(values) or 1.0)
