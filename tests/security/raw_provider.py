"""A provider that answers as a test says, and the three ways in which Emendo asks it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from emendo_client.errors import EmendoError
from emendo_client.providers.chat.openai import OpenAIChatModel
from emendo_client.providers.embeddings.openai import OpenAIEmbedder
from emendo_config import Settings
from emendo_workers.inference.prompts.extract import ExtractedFacts

DIMENSIONS = 8
VECTOR = [0.5] * DIMENSIONS
GOOD = json.dumps({"data": [{"index": 0, "embedding": VECTOR}], "usage": {"total_tokens": 1}}).encode()
SAID = json.dumps({"choices": [{"message": {"content": '{"facts": []}'}}]}).encode()


class Provider(ThreadingHTTPServer):
    """A provider that answers each request as the test says."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer: Callable[[Handler], None] = lambda handler: handler.say(200, GOOD)
        self.asked: list[bytes] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Provider

    def do_POST(self) -> None:
        self.server.asked.append(self.rfile.read(int(self.headers["content-length"])))
        try:
            self.server.answer(self)
        except OSError:  # the client has hung up
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass

    def begin(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def say(self, status: int, body: bytes, **headers: str) -> None:
        self.begin(status, content_length=str(len(body)), content_type="application/json", **headers)
        self.wfile.write(body)

    def say_without_end(self, status: int, part: bytes, pause: float = 0.0, **headers: str) -> None:
        """Until the client hangs up."""
        self.begin(status, connection="close", **headers)
        wait = threading.Event()
        while True:
            self.wfile.write(part)
            wait.wait(pause)


@contextmanager
def serving() -> Iterator[Provider]:
    with Provider() as made:
        threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield made
        made.shutdown()


def settings_of(provider: Provider, **more: Any) -> Settings:
    values: dict[str, Any] = {
        "embedding_provider": "openai",
        "embedding_base_url": provider.url,
        "embedding_api_key": "sk-secret",
        "embedding_dimensions": DIMENSIONS,
        "embedding_max_inputs": 1,
        "chat_model": "m",
        "chat_base_url": provider.url,
        "chat_api_key": "sk-secret",
        **more,
    }
    return Settings(**values)


def embed(settings: Settings) -> Any:
    embedder = OpenAIEmbedder(settings, settings.space, for_queries=False)
    try:
        return embedder.embed(["a private text"])
    finally:
        embedder.close()


def embed_async(settings: Settings) -> Any:
    async def call() -> Any:
        embedder = OpenAIEmbedder(settings, settings.space, for_queries=False)
        try:
            return await embedder.embed_async(["a private text"])
        finally:
            await embedder.close_async()

    return asyncio.run(call())


def chat(settings: Settings) -> Any:
    model = OpenAIChatModel(settings)
    try:
        return model.ask([{"role": "user", "content": "a private text"}], ExtractedFacts, max_tokens=16)
    finally:
        model.close()


EVERY_WAY = pytest.mark.parametrize("ask", [embed, embed_async, chat])


def failure(ask: Callable[[Settings], Any], settings: Settings) -> EmendoError:
    with pytest.raises(EmendoError) as caught:
        ask(settings)
    assert "private" not in f"{caught.value} {caught.value.details}"
    return caught.value
