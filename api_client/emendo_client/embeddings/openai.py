"""The OpenAI embedder: any server that speaks OpenAI's protocol, through the official client."""

from __future__ import annotations

import array
import base64
import binascii
import json
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import openai
import pydantic

from emendo_client.embeddings.base import MALFORMED, Embeddings, checked
from emendo_client.errors import EmbeddingError
from emendo_client.provider_errors import EMBEDDING, translate
from emendo_client.rate_limits import read_rate_limits
from emendo_config import Settings

# What the openai client, and the parsing of its answer, can raise for one request.
_FAILURES = (openai.OpenAIError, json.JSONDecodeError, pydantic.ValidationError)
# An OpenAI-compatible server of one's own often has no key; the client insists on one.
_NO_KEY = "none"


class OpenAIEmbedder:
    """One `openai` client per process and kind; thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._model = settings.embedding_model
        self._dimensions = settings.embedding_dimensions
        self._options: dict[str, Any] = {
            "api_key": settings.embedding_api_key.get_secret_value() or _NO_KEY,
            "base_url": settings.embedding_base_url or None,
            "timeout": settings.embedding_timeout,
            "max_retries": 0,  # retrying is decided in one place, emendo_workers.retry
        }
        self._lock = threading.Lock()
        self._sync: openai.OpenAI | None = None
        self._async: openai.AsyncOpenAI | None = None

    def prepare(self) -> None:
        """Makes the client; the provider is not asked, since a worker may start while it is away."""
        self._client()

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """See `Embedder.embed`."""
        try:
            response = self._client().embeddings.with_raw_response.create(input=list(texts), **self._request())
            answer = response.parse()
        except _FAILURES as error:
            raise translate(error, EMBEDDING) from None
        return self._read(answer, texts, response.headers)

    async def embed_async(self, texts: Sequence[str]) -> Embeddings:
        """See `Embedder.embed_async`."""
        if self._async is None:
            self._async = openai.AsyncOpenAI(**self._options)
        try:
            response = await self._async.embeddings.with_raw_response.create(input=list(texts), **self._request())
            answer = response.parse()
        except _FAILURES as error:
            raise translate(error, EMBEDDING) from None
        return self._read(answer, texts, response.headers)

    def _client(self) -> openai.OpenAI:
        with self._lock:
            if self._sync is None:
                self._sync = openai.OpenAI(**self._options)
            return self._sync

    def close(self) -> None:
        """Closes the synchronous client; the asynchronous one ends with its event loop."""
        if self._sync is not None:
            self._sync.close()
            self._sync = None

    def _request(self) -> dict[str, Any]:
        request: dict[str, Any] = {"model": self._model, "encoding_format": "base64"}
        # Models before text-embedding-3 refuse the parameter even for their own dimension.
        if "ada-002" not in self._model:
            request["dimensions"] = self._dimensions
        return request

    def _read(self, answer: Any, texts: Sequence[str], headers: Mapping[str, str]) -> Embeddings:
        try:
            items = sorted(answer.data, key=lambda item: int(item.index))
            vectors = [_little_endian(item.embedding) for item in items]
            tokens = int(answer.usage.total_tokens) if answer.usage else 0
        except (AttributeError, TypeError, ValueError, binascii.Error, OverflowError) as error:
            raise EmbeddingError(
                f"the provider's answer is malformed ({type(error).__name__})", error_code=MALFORMED
            ) from None
        return Embeddings(checked(vectors, texts, self._dimensions), tokens, read_rate_limits(headers))


def _little_endian(embedding: Any) -> bytes:
    """A vector as float32 bytes: base64 goes straight through; a list is for servers that ignore the format."""
    if isinstance(embedding, str):
        vector = base64.b64decode(embedding, validate=True)
    else:
        floats = array.array("f", embedding)
        if sys.byteorder == "big":
            floats.byteswap()
        vector = floats.tobytes()
    _refuse_not_finite(vector)
    return vector


def _refuse_not_finite(vector: bytes) -> None:
    # The sum of the squares is not finite exactly when an element is not (or overflows, as unusable).
    floats = memoryview(vector).cast("f")
    total = sum(floats)
    if total - total != 0:  # NaN and infinity fail this, every number passes
        raise ValueError("not finite")
