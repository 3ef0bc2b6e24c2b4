"""The interface of embedders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from emendo_client.errors import EmbeddingError
from emendo_client.providers.embeddings.vectors import are_finite, has_zero
from emendo_client.rate_limits import RateLimitState
from emendo_config.error_codes import ErrorCode


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The answer to one provider request.

    Attributes:
        vectors: in the texts' order, each float32[dimensions] as little-endian bytes, or why it cannot be used.
        tokens: tokens as the provider counted them; 0 if it does not report them.
        rate_limits: the provider's limits, from the answer's headers.
    """

    vectors: list[bytes | EmbeddingError]
    tokens: int = 0
    rate_limits: RateLimitState = field(default_factory=RateLimitState)

    @property
    def first(self) -> bytes:
        """The vector of the first text.

        Raises:
            EmbeddingError: it cannot be used.
        """
        vector = self.vectors[0]
        if isinstance(vector, EmbeddingError):
            raise vector
        return vector


class Embedder(Protocol):
    """Embeds texts with one provider request per call; never retries by itself."""

    @property
    def refused_fields(self) -> tuple[str, ...]:
        """Fields of a request that the provider was found to refuse, so that requests go without them."""
        ...

    def prepare(self) -> None:
        """Loads everything the first embedding needs, so that a missing part is noticed when the process starts.

        Raises:
            ConfigurationError: the embedder cannot work on this machine.
        """
        ...

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Embeds the texts in one request.

        Raises:
            EmbeddingError: the provider refuses the texts, or its answer cannot be used (EMBEDDING_MALFORMED).
            NetworkError, RateLimitError: a later attempt may succeed.
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
        """Closes all connections, including those of `embed_async`."""
        ...


def checked(
    vectors: Sequence[bytes | None], texts: Sequence[str], dimensions: int, model: str = "the model"
) -> list[bytes | EmbeddingError]:
    """The vectors, each of the right length and such that a search can find it, or else the reason why it is not.

    Args:
        vectors: float32 bytes of any length; None where the answer has no vector.
        texts: what was embedded.
        dimensions: the length that the vectors must have.
        model: its name, for messages.

    Raises:
        EmbeddingError: (EMBEDDING_MALFORMED) vectors are missing, and nobody knows whose; or no vector can be used.
    """
    if len(vectors) != len(texts):
        details = None if vectors else {"vectors": 0}
        raise _malformed(f"the provider answered {len(vectors)} vectors for {len(texts)} texts", details=details)
    found = [_problem_of(vector, dimensions, model) or vector or b"" for vector in vectors]
    if all(isinstance(vector, EmbeddingError) for vector in found) and isinstance(found[0], EmbeddingError):
        raise found[0]
    return found


def _problem_of(vector: bytes | None, dimensions: int, model: str) -> EmbeddingError | None:
    """The reason why a vector cannot be used; None if it can."""
    if vector is None:
        return _malformed("a vector of the provider's answer is missing, or no vector")
    given, rest = divmod(len(vector), 4)
    if rest or not given:
        return _malformed(f"a vector of the provider's answer is {'no float32 vector' if rest else 'empty'}")
    if given != dimensions:
        return _malformed(
            f"{model} gives vectors of {given} dimensions, but {dimensions} are asked for",
            suggestion=f"set EMENDO_EMBEDDING_DIMENSIONS={given}; a store that has memories needs emendo reembed",
            details={"dimensions": given},
        )
    if not are_finite([vector]):
        return _malformed("a vector of the provider's answer holds NaN or infinite values")
    if has_zero([vector]):
        return _malformed("a vector of the provider's answer is all zeros, so that no search would find its memory")
    return None


def _malformed(problem: str, suggestion: str | None = None, details: dict[str, int] | None = None) -> EmbeddingError:
    return EmbeddingError(problem, error_code=ErrorCode.EMBEDDING_MALFORMED, suggestion=suggestion, details=details)
