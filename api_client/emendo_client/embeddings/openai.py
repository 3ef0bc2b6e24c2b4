"""The OpenAI embedder: any server that speaks OpenAI's protocol, through the official client."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import httpx2
import openai
import pydantic

from emendo_client.embeddings.base import MALFORMED, Embeddings, checked
from emendo_client.embeddings.vectors import are_finite, little_endian
from emendo_client.errors import EmbeddingError
from emendo_client.provider_errors import EMBEDDING, require_server, translate
from emendo_client.rate_limits import read_rate_limits
from emendo_client.tls import async_http_client, http_client
from emendo_config import Settings
from emendo_config.compact import read_json
from emendo_config.spaces import EmbeddingSpace

# Asked through the client's plain `post`, which leaves building and reading the documents to us: its typed method
# looks at every text and makes an object of every vector, and takes twice as long as all the rest of a request.
_PATH = "/embeddings"
# What the openai client, and the parsing of its answer, can raise for one request.
_FAILURES = (openai.OpenAIError, json.JSONDecodeError, pydantic.ValidationError)
# An OpenAI-compatible server of one's own often has no key; the client insists on one.
_NO_KEY = "none"


class OpenAIEmbedder:
    """One `openai` client per process and kind; thread-safe.

    Raises:
        ConfigurationError: the settings name neither a key nor a base URL.
    """

    def __init__(self, settings: Settings, space: EmbeddingSpace) -> None:
        key = settings.embedding_api_key.get_secret_value()
        require_server(EMBEDDING, f"the embedder {space.provider}/{space.model}", key, settings.embedding_base_url)
        self._model = space.model
        self._dimensions = space.dimensions
        self._options: dict[str, Any] = {
            "api_key": key or _NO_KEY,
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
            response = self._client().post(_PATH, cast_to=httpx2.Response, body=self._request(texts))
        except _FAILURES as error:
            raise translate(error, EMBEDDING) from None
        return self._read(response.content, texts, response.headers)

    async def embed_async(self, texts: Sequence[str]) -> Embeddings:
        """See `Embedder.embed_async`."""
        if self._async is None:
            self._async = openai.AsyncOpenAI(**self._options, http_client=async_http_client())
        try:
            response = await self._async.post(_PATH, cast_to=httpx2.Response, body=self._request(texts))
        except _FAILURES as error:
            raise translate(error, EMBEDDING) from None
        return self._read(response.content, texts, response.headers)

    def _client(self) -> openai.OpenAI:
        with self._lock:
            if self._sync is None:
                self._sync = openai.OpenAI(**self._options, http_client=http_client())
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

    def _request(self, texts: Sequence[str]) -> dict[str, Any]:
        request: dict[str, Any] = {"model": self._model, "encoding_format": "base64", "input": list(texts)}
        # Models before text-embedding-3 refuse the parameter even for their own dimension.
        if "ada-002" not in self._model:
            request["dimensions"] = self._dimensions
        return request

    def _read(self, body: bytes, texts: Sequence[str], headers: Mapping[str, str]) -> Embeddings:
        try:
            answer = read_json(body)
            items = sorted(answer["data"], key=lambda item: int(item["index"]))
            vectors = [little_endian(item["embedding"]) for item in items]
            finite = are_finite(vectors)
            usage = answer.get("usage") or {}
            tokens = int(usage.get("total_tokens") or 0)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise EmbeddingError(
                f"the provider's answer is malformed ({type(error).__name__})", error_code=MALFORMED
            ) from None
        if not finite:
            raise EmbeddingError("a vector of the provider's answer holds what is no number", error_code=MALFORMED)
        return Embeddings(checked(vectors, texts, self._dimensions), tokens, read_rate_limits(headers))
