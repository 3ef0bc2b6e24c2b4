"""Embedding spaces: vectors of two spaces are never compared, so each has its own field and index."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

# What the hash fields that hold vectors, and no others, begin with.
VECTOR_PREFIX = "vector_"


@dataclass(frozen=True, slots=True)
class EmbeddingSpace:
    """What makes two vectors comparable: who computed them, with which model, how long, which generation."""

    provider: str
    model: str
    dimensions: int
    generation: int = 1

    @property
    def name(self) -> str:
        """The space's name in keys and fields, for instance `openai_text_embedding_3_small_1536_1`."""
        return _name(self.provider, self.model, self.dimensions, self.generation)

    @property
    def field(self) -> str:
        """The hash field that holds this space's vector: float32[dimensions], little-endian bytes."""
        return f"{VECTOR_PREFIX}{self.name}"


@lru_cache(maxsize=64)
def _name(provider: str, model: str, dimensions: int, generation: int) -> str:
    slug = re.sub(r"[^a-z0-9]+", "_", model.lower()).strip("_")
    return f"{provider}_{slug}_{dimensions}_{generation}"
