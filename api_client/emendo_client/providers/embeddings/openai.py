"""The embedder for servers with OpenAI's protocol, through the official client."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import Any, cast

import httpx2
import openai
import pydantic

from emendo_client.loops import PerLoop
from emendo_client.providers.embeddings.answers import read_answer
from emendo_client.providers.embeddings.base import Embeddings, checked
from emendo_client.providers.embeddings.request_form import Asked, Form, RequestForm, Steps
from emendo_client.providers.errors_with_200 import refusal_in
from emendo_client.providers.http import Server
from emendo_client.providers.openai_errors import EMBEDDING, require_server, translate
from emendo_client.providers.rate_limit_headers import read_rate_limits
from emendo_config import Settings
from emendo_config.embedding_space import EmbeddingSpace
from emendo_config.forks import leave_to_the_parent, notice_fork, reset_in_children
from emendo_config.provider_settings import read_fields, read_headers

# Requests use the client's plain `post`. Its typed method inspects every text and makes an object of every vector,
# which takes twice as long as the rest of a request.
_PATH = "/embeddings"
# The bytes of an answer at most: each number of its vectors as JSON, and room for the rest. A server that ignores
# `dimensions` answers with the model's own.
_NUMBER_BYTES, _USUAL, _MORE_BYTES = 28, 1_536, 4 << 20
# Errors of one request: those of the openai client, and those of parsing its answer.
_FAILURES = (openai.OpenAIError, json.JSONDecodeError, pydantic.ValidationError)
# The answer to one request, or its refusal.
_Outcome = tuple[httpx2.Response | None, openai.APIStatusError | None]


class OpenAIEmbedder:
    """One blocking `openai` client per process, and one asyncio client per event loop; thread-safe.

    It remembers the form of request that the server accepts.

    Args:
        settings: the server, and how it is asked.
        space: the model, and the length of its vectors.
        for_queries: whether search queries are embedded. Then nobody asks again after a failure.

    Raises:
        ConfigurationError: the settings name neither a key nor a base URL.
    """

    def __init__(self, settings: Settings, space: EmbeddingSpace, *, for_queries: bool) -> None:
        key = settings.embedding_api_key.get_secret_value()
        require_server(EMBEDDING, f"the embedder {space.provider}/{space.model}", key, settings.embedding_base_url)
        self._model = space.model
        self._dimensions = space.dimensions
        inputs = space.query if for_queries else space.passage
        self._prefix = inputs.prefix
        self._fields = read_fields(inputs.fields)
        headers = read_headers(settings.embedding_headers.get_secret_value())
        most_bytes = _MORE_BYTES + settings.embedding_max_inputs * max(space.dimensions, _USUAL) * _NUMBER_BYTES
        self._server = Server(settings.embedding_base_url, key, headers, settings.embedding_timeout, most_bytes)
        self._form = RequestForm(*_first_form(settings, space.model), doubts=1 if for_queries else 2)
        self._lock = threading.Lock()
        self._sync: openai.OpenAI | None = None
        self._async = PerLoop(self._server.async_client, openai.AsyncOpenAI.close)
        reset_in_children(self)

    def reset_after_fork(self) -> None:
        """The parent's client stays with the parent: two processes on one socket get each other's vectors."""
        leave_to_the_parent(self._sync)
        self._sync = None
        self._lock = threading.Lock()

    @property
    def refused_fields(self) -> tuple[str, ...]:
        """See `Embedder.refused_fields`."""
        return self._form.refused_fields

    def prepare(self) -> None:
        """Makes the client, without asking the provider: a worker may start while the provider is away."""
        self._client()

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """See `Embedder.embed`."""
        steps = self._form.ask(texts, self._read)
        try:
            asked = next(steps)
            while True:
                asked = _go_on(steps, *self._post(asked))
        except StopIteration as end:
            return cast("Embeddings", end.value)
        except _FAILURES as error:
            failure = translate(error, EMBEDDING)
        raise failure  # outside: an error of the provider may quote the texts, and would be attached to it

    async def embed_async(self, texts: Sequence[str]) -> Embeddings:
        """See `Embedder.embed_async`."""
        steps = self._form.ask(texts, self._read)
        try:
            asked = next(steps)
            while True:
                asked = _go_on(steps, *await self._post_async(asked))
        except StopIteration as end:
            return cast("Embeddings", end.value)
        except _FAILURES as error:
            failure = translate(error, EMBEDDING)
        raise failure  # outside: an error of the provider may quote the texts, and would be attached to it

    def _post(self, asked: Asked) -> _Outcome:
        try:
            return _outcome(self._client().post(_PATH, cast_to=httpx2.Response, body=self._request(asked)))
        except openai.APIStatusError as refusal:
            return None, refusal

    async def _post_async(self, asked: Asked) -> _Outcome:
        try:
            client = self._async.get()
            return _outcome(await client.post(_PATH, cast_to=httpx2.Response, body=self._request(asked)))
        except openai.APIStatusError as refusal:
            return None, refusal

    def _client(self) -> openai.OpenAI:
        notice_fork()
        with self._lock:
            if self._sync is None:
                self._sync = self._server.client()
            return self._sync

    def close(self) -> None:
        """Closes the synchronous client; the asynchronous one needs `close_async`."""
        if self._sync is not None:
            self._sync.close()
            self._sync = None

    async def close_async(self) -> None:
        """Closes both clients; of the asyncio ones that of the running event loop."""
        self.close()
        await self._async.close()

    def _request(self, asked: Asked) -> dict[str, Any]:
        texts = [f"{self._prefix}{text}" for text in asked.texts] if self._prefix else list(asked.texts)
        request: dict[str, Any] = {"model": self._model, "input": texts, **self._fields}
        if asked.form.encoding_format:
            request["encoding_format"] = "base64"
        if asked.form.dimensions:
            request["dimensions"] = self._dimensions
        return request

    def _read(self, response: httpx2.Response, texts: Sequence[str]) -> Embeddings:
        vectors, tokens = read_answer(response.content, len(texts))
        return Embeddings(
            checked(vectors, texts, self._dimensions, self._model), tokens, read_rate_limits(response.headers)
        )


def _outcome(response: httpx2.Response) -> _Outcome:
    refusal = refusal_in(response)
    return (response, None) if refusal is None else (None, refusal)


def _go_on(steps: Steps[Embeddings], response: httpx2.Response | None, refusal: openai.APIStatusError | None) -> Asked:
    return steps.send(response) if response is not None else steps.throw(cast("openai.APIStatusError", refusal))


def _first_form(settings: Settings, model: str) -> tuple[Form, list[str]]:
    """The form to try first, and the fields that the settings decide about."""
    wishes = {
        "dimensions": settings.embedding_send_dimensions,
        "encoding_format": settings.embedding_send_encoding_format,
    }
    # Models before text-embedding-3 refuse the parameter, even with their own number of dimensions.
    refused = {"dimensions"} if "ada-002" in model else set()
    sent = {name: wish == "always" or (wish == "auto" and name not in refused) for name, wish in wishes.items()}
    return Form(**sent), [name for name, wish in wishes.items() if wish != "auto"]
