"""An OpenAI-protocol server on loopback: deterministic, with latency and faults on demand.

In-process: `with OpenAIServer() as server: … server.base_url, server.faults.add(Fault("unavailable"))`.
In a process of its own: `start_server_process()`, or `python -m emendo_client.testing`.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from emendo_client.testing import answers
from emendo_client.testing.answers import Answer
from emendo_client.testing.faults import Fault, Faults
from emendo_client.testing.remote import RemoteOpenAIServer, start_server_process

__all__ = ["OpenAIServer", "RemoteOpenAIServer", "Request", "start_server_process"]

_MOST_LOGGED = 100_000


@dataclass(slots=True)
class Request:
    """One request as the server saw it; `fault` names the one that struck."""

    endpoint: str
    inputs: list[str] = field(repr=False)
    tokens: int
    status: int
    fault: str | None


class OpenAIServer:
    """The server; a context manager.

    Args:
        port: 0 picks a free one.
        latency_ms: how long each answer takes.
        api_key: refuse other keys with 401; empty takes any.
        default_dimensions: of vectors, when the request does not say.
        seed: of faults that strike at a rate.
    """

    def __init__(
        self,
        port: int = 0,
        latency_ms: float = 0.0,
        api_key: str = "",
        default_dimensions: int = 1536,
        seed: int = 0,
    ) -> None:
        self.latency_ms = latency_ms
        self.api_key = api_key
        self.default_dimensions = default_dimensions
        self.faults = Faults(seed)
        self._requests: deque[Request] = deque(maxlen=_MOST_LOGGED)
        self._script: deque[str] = deque()
        self._answerer: Callable[[dict[str, Any]], str] | None = None
        self._lock = threading.Lock()
        self.stopping = threading.Event()
        self._http = _Listener(("127.0.0.1", port), _Handler, self)
        self._thread = threading.Thread(target=self._http.serve_forever, name="openai-server", daemon=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Begins to answer."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Ends; requests under way are dropped."""
        self.stopping.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def base_url(self) -> str:
        """What to give as `base_url`."""
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    @property
    def requests(self) -> list[Request]:
        """The requests so far, oldest first."""
        with self._lock:
            return list(self._requests)

    def clear_requests(self) -> None:
        """Forgets the requests so far."""
        with self._lock:
            self._requests.clear()

    def script(self, *contents: str) -> None:
        """The next chat answers, in order."""
        with self._lock:
            self._script.extend(contents)

    def answer_chat_with(self, answerer: Callable[[dict[str, Any]], str] | None) -> None:
        """A function from the chat request to the answer's content, asked when the script is used up."""
        self._answerer = answerer

    def reset(self) -> None:
        """As new: no faults, no latency, no script, no log."""
        self.faults.clear()
        self.latency_ms = 0.0
        self._answerer = None
        with self._lock:
            self._script.clear()
            self._requests.clear()

    def _chat_content(self, request: dict[str, Any]) -> str | None:
        with self._lock:
            if self._script:
                return self._script.popleft()
        return self._answerer(request) if self._answerer is not None else None

    def log(self, request: Request) -> None:
        """Adds to the request log."""
        with self._lock:
            self._requests.append(request)

    def respond(self, endpoint: str, request: dict[str, Any], fault: Fault | None) -> Answer:
        """The answer to one API request."""
        struck = answers.fault_answer(fault) if fault is not None else None
        if struck is not None:
            return struck
        if endpoint == "embeddings":
            return answers.embeddings(request, fault, self.default_dimensions)
        content = self._chat_content(request)
        if content is None:
            return answers.error(500, "no chat answer is scripted: call script() or answer_chat_with()")
        return answers.chat(request, content, len(self._requests))

    def control(self, verb: str, what: str, document: Any) -> Answer:
        """The remote control under /_test."""
        if (verb, what) == ("POST", "faults"):
            self.faults.add(*(Fault(**fault) for fault in document))
        elif (verb, what) == ("DELETE", "faults"):
            self.faults.clear()
        elif (verb, what) == ("GET", "requests"):
            return answers.json_answer(200, [asdict(request) for request in self.requests])
        elif (verb, what) == ("DELETE", "requests"):
            self.clear_requests()
        elif (verb, what) == ("POST", "chat"):
            self.script(*document)
        elif (verb, what) == ("POST", "latency"):
            self.latency_ms = float(document)
        else:
            return answers.error(404, "no such control")
        return answers.json_answer(200, {})


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], owner: OpenAIServer) -> None:
        super().__init__(address, handler)
        self.owner = owner

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news; anything else is."""
        import sys

        if not isinstance(sys.exception(), ConnectionError | BrokenPipeError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one segment for headers and body
    disable_nagle_algorithm = True
    server: _Listener

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's signature
        """The request log is kept in memory instead."""

    def do_GET(self) -> None:
        self._dispatch("GET")

    def do_POST(self) -> None:
        self._dispatch("POST")

    def do_DELETE(self) -> None:
        self._dispatch("DELETE")

    def _dispatch(self, verb: str) -> None:
        owner = self.server.owner
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        try:
            document = json.loads(body) if body else None
        except ValueError:
            self._send(answers.error(400, "the body is not JSON"))
            return
        path = self.path.partition("?")[0].strip("/")
        if path.startswith("_test/"):
            self._send(owner.control(verb, path.removeprefix("_test/"), document))
        elif path == "v1/models":
            models = [{"id": "text-embedding-3-small", "object": "model"}]
            self._send(answers.json_answer(200, {"object": "list", "data": models}))
        elif path in ("v1/embeddings", "v1/chat/completions") and isinstance(document, dict):
            self._api("embeddings" if path == "v1/embeddings" else "chat", document)
        else:
            self._send(answers.error(404, "no such endpoint"))

    def _api(self, endpoint: str, document: dict[str, Any]) -> None:
        owner = self.server.owner
        inputs = answers.embedding_inputs(document)
        if endpoint == "chat":
            inputs = [str(message.get("content")) for message in document.get("messages", [])]
        if owner.api_key and self.headers.get("authorization") != f"Bearer {owner.api_key}":
            self._send(answers.error(401, "Incorrect API key provided", "invalid_api_key"))
            return
        fault = owner.faults.strike(endpoint, inputs)
        began = time.monotonic()
        answer = owner.respond(endpoint, document, fault)
        kind = fault.kind if fault is not None else None
        owner.log(Request(endpoint, inputs, sum(map(answers.tokens_of, inputs)), answer.status, kind))
        left = owner.latency_ms / 1000 - (time.monotonic() - began)
        if left > 0:
            owner.stopping.wait(left)
        if kind == "timeout" and fault is not None:
            owner.stopping.wait(fault.retry_after if fault.retry_after > 1 else 60.0)
            self.close_connection = True
        elif kind == "reset":
            self._reset()
        else:
            self._send(answer)

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("content-type", "application/json")
        self.send_header("x-request-id", "req_test")
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(answer.body)))
        self.end_headers()
        if answer.truncate:
            self.wfile.write(answer.body[: len(answer.body) // 2])
            self.close_connection = True
        else:
            self.wfile.write(answer.body)
        self.wfile.flush()

    def _reset(self) -> None:
        # Lingering for zero seconds makes close() send RST instead of FIN.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()
