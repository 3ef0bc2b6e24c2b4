"""What every embedder promises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from emendo_client.errors import EmbeddingError
from emendo_client.rate_limits import RateLimitState

# error_code of answers that another try may mend: broken JSON, a missing item, an odd dimension.
MALFORMED = "EMBEDDING_MALFORMED"


@dataclass(frozen=True, slots=True)
class Embeddings:
    """One provider request's yield.

    Attributes:
        vectors: in the texts' order, each float32[dimensions] as little-endian bytes.
        tokens: what the provider counted, 0 when it does not say.
        rate_limits: what the answer's headers say of the provider's limits.
    """

    vectors: list[bytes]
    tokens: int = 0
    rate_limits: RateLimitState = field(default_factory=RateLimitState)


class Embedder(Protocol):
    """Texts in, vectors out, one provider request a call, no retries of its own."""

    def prepare(self) -> None:
        """Loads what the first embedding would otherwise wait for, so that what is missing is missed at start.

        Raises:
            ConfigurationError: it cannot work on this machine.
        """
        ...

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Embeds the texts in one request.

        Raises:
            EmbeddingError: the provider refuses the texts, or its answer cannot be used (MALFORMED).
            NetworkError, RateLimitError: trying again later may help.
            AuthenticationError: the key is refused.
        """
        ...

    async def embed_async(self, texts: Sequence[str]) -> Embeddings:
        """The same without blocking the event loop."""
        ...

    def close(self) -> None:
        """Closes connections."""
        ...

    async def close_async(self) -> None:
        """Closes all connections, those of `embed_async`, too."""
        ...


def checked(vectors: list[bytes], texts: Sequence[str], dimensions: int) -> list[bytes]:
    """The vectors, when there is one of the right length for each text.

    Raises:
        EmbeddingError: (MALFORMED) a vector is missing or of another dimension.
    """
    if len(vectors) != len(texts):
        raise EmbeddingError(
            f"the provider answered {len(vectors)} vectors for {len(texts)} texts", error_code=MALFORMED
        )
    for vector in vectors:
        if len(vector) != 4 * dimensions:
            raise EmbeddingError(
                f"the provider answered a vector of {len(vector) // 4} dimensions; the index has {dimensions}",
                error_code=MALFORMED,
                suggestion="set EMENDO_EMBEDDING_DIMENSIONS to what the model gives",
            )
    return vectors
