"""Embedding spaces: vectors of two spaces are never compared, so each has its own field and index."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

# The prefix of the hash fields that hold vectors, and of no others.
VECTOR_PREFIX = "vector_"


@dataclass(frozen=True, slots=True)
class InputForm:
    """How a model is sent the texts of one kind: some embed a query other than the passage that answers it.

    Attributes:
        prefix: before each text.
        fields: further fields of the request, as a JSON object in its canonical form; empty for none.
    """

    prefix: str = ""
    fields: str = ""


_PLAIN = InputForm()


@dataclass(frozen=True, slots=True)
class EmbeddingSpace:
    """The properties that make two vectors comparable: provider, model, length, the forms of texts, and generation.

    Attributes:
        passage, query: how memories and search queries are sent.
        name: of the space in keys and fields, for instance `openai_text_embedding_3_small_1536_1`.
        field: the hash field that holds its vectors: float32[dimensions], little-endian bytes.
    """

    provider: str
    model: str
    dimensions: int
    generation: int = 1
    passage: InputForm = _PLAIN
    query: InputForm = _PLAIN
    # Made once, since each change of a memory asks for them.
    name: str = dataclasses.field(init=False, compare=False, repr=False)
    field: str = dataclasses.field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", _name(self))
        object.__setattr__(self, "field", f"{VECTOR_PREFIX}{self.name}")

    @property
    def has_plain_texts(self) -> bool:
        """True when every text is sent as it is."""
        return self.passage == self.query == _PLAIN

    def embeds_like(self, other: EmbeddingSpace) -> bool:
        """True when both give memories the same vectors. Names do not tell: two models may have one slug."""
        ours = (self.provider, self.model, self.dimensions, self.passage)
        return ours == (other.provider, other.model, other.dimensions, other.passage)

    def is_like(self, other: EmbeddingSpace) -> bool:
        """True when they differ in their generation at most."""
        return self.embeds_like(other) and self.query == other.query

    def differences(self, other: EmbeddingSpace) -> Iterator[tuple[str, object, object]]:
        """Each property in which they differ, beside the generation: its name, and its value here and there."""
        yield from (
            (name, ours, theirs)
            for name, ours, theirs in (
                ("provider", self.provider, other.provider),
                ("model", self.model, other.model),
                ("dimensions", self.dimensions, other.dimensions),
                ("passage_prefix", self.passage.prefix, other.passage.prefix),
                ("passage_fields", self.passage.fields, other.passage.fields),
                ("query_prefix", self.query.prefix, other.query.prefix),
                ("query_fields", self.query.fields, other.query.fields),
            )
            if ours != theirs
        )


def _name(space: EmbeddingSpace) -> str:
    slug = re.sub(r"[^a-z0-9]+", "_", space.model.lower()).strip("_")
    name = f"{space.provider}_{slug}_{space.dimensions}"
    if not space.has_plain_texts:
        passage, query = space.passage, space.query
        forms = f"{space.model}\0{passage.prefix}\0{passage.fields}\0{query.prefix}\0{query.fields}"
        name += f"_{hashlib.blake2b(forms.encode(), digest_size=4).hexdigest()}"
    return f"{name}_{space.generation}"
