"""The OpenAI embedder: any server that speaks OpenAI's protocol, through the official client."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import openai
import pydantic

from emendo_client.embeddings.base import MALFORMED, Embeddings, checked
from emendo_client.embeddings.vectors import little_endian
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
        except _FAILURES as error:
            raise translate(error, EMBEDDING) from None
        return self._read(response.content, texts, response.headers)

    async def embed_async(self, texts: Sequence[str]) -> Embeddings:
        """See `Embedder.embed_async`."""
        if self._async is None:
            self._async = openai.AsyncOpenAI(**self._options)
        try:
            response = await self._async.embeddings.with_raw_response.create(input=list(texts), **self._request())
        except _FAILURES as error:
            raise translate(error, EMBEDDING) from None
        return self._read(response.content, texts, response.headers)

    def _client(self) -> openai.OpenAI:
        with self._lock:
            if self._sync is None:
                self._sync = openai.OpenAI(**self._options)
            return self._sync

    def close(self) -> None:
        """Closes the synchronous client; the asynchronous one needs `close_async`."""
        if self._sync is not None:
            self._sync.close()
            self._sync = None

    async def close_async(self) -> None:
        """Closes both clients."""
        self.close()
        if self._async is not None:
            await self._async.close()
            self._async = None

    def _request(self) -> dict[str, Any]:
        request: dict[str, Any] = {"model": self._model, "encoding_format": "base64"}
        # Models before text-embedding-3 refuse the parameter even for their own dimension.
        if "ada-002" not in self._model:
            request["dimensions"] = self._dimensions
        return request

    def _read(self, body: bytes, texts: Sequence[str], headers: Mapping[str, str]) -> Embeddings:
        # Read here instead of by the client: its models cost more than all the rest of the request.
        try:
            answer = json.loads(body)
            items = sorted(answer["data"], key=lambda item: int(item["index"]))
            vectors = [little_endian(item["embedding"]) for item in items]
            usage = answer.get("usage") or {}
            tokens = int(usage.get("total_tokens") or 0)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise EmbeddingError(
                f"the provider's answer is malformed ({type(error).__name__})", error_code=MALFORMED
            ) from None
        return Embeddings(checked(vectors, texts, self._dimensions), tokens, read_rate_limits(headers))
