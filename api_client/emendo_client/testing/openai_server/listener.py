"""The test server's sockets: HTTP/1.1 with keep-alive; answers sent late, cut short or not at all."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NoReturn

from emendo_client.testing.openai_server import answers
from emendo_client.testing.openai_server.answers import Answer
from emendo_client.testing.openai_server.behaviour import Behaviour
from emendo_client.testing.openai_server.control import control
from emendo_client.testing.openai_server.request_log import Request
from emendo_client.testing.openai_server.texts import inputs_of, tokens_of

_ENDPOINTS = {"/v1/embeddings": "embeddings", "/v1/chat/completions": "chat"}
_CONTROLS = "/_test/"


class Listener(ThreadingHTTPServer):
    """Accepts connections, one thread each, and can cut them all.

    Args:
        port: 0 picks a free one.
        host: the address to listen at.
        behaviour: supplies the answers.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port: int, host: str, behaviour: Behaviour) -> None:
        super().__init__((host, port), _Handler)
        self.behaviour = behaviour
        self._connections: set[socket.socket] = set()
        self._connections_lock = threading.Lock()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Records the connection, since one kept alive would be answered long after the listener closed."""
        with self._connections_lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forgets the connection."""
        with self._connections_lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def cut_connections(self) -> None:
        """Shuts every open connection down; its thread then ends."""
        with self._connections_lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Reports an error, unless a connection just ended early."""
        if not isinstance(sys.exception(), ConnectionError) and not self.behaviour.stopping.is_set():
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one segment for headers and body
    disable_nagle_algorithm = True
    server: Listener

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's signature
        """The request log is kept in memory instead."""

    def do_GET(self) -> None:
        self._dispatch("GET")

    def do_POST(self) -> None:
        self._dispatch("POST")

    def do_DELETE(self) -> None:
        self._dispatch("DELETE")

    def _dispatch(self, verb: str) -> None:
        length = self.headers.get("content-length", "0")
        if not length.isdecimal() or "transfer-encoding" in self.headers:
            self.close_connection = True  # the start of the next request is unknown
            self._send(answers.error(411, "the body's length must be given as Content-Length"))
            return
        body = self.rfile.read(int(length))
        try:
            document = json.loads(body) if body else None
        except ValueError:
            self._send(answers.error(400, "the body is not JSON"))
            return
        behaviour = self.server.behaviour
        path = self.path.partition("?")[0].rstrip("/")
        if self.path.startswith(_CONTROLS):
            self._send(control(behaviour, verb, self.path.removeprefix(_CONTROLS), document))
        elif (verb, path) == ("GET", "/v1/models"):
            self._send(self._unauthorised() or behaviour.models())
        elif verb == "POST" and path in _ENDPOINTS:
            self._api(path, document if isinstance(document, dict) else {})
        else:
            self._send(answers.error(404, f"no such endpoint: {verb} {path}"))

    def _unauthorised(self) -> Answer | None:
        key = self.server.behaviour.api_key
        if not key or self.headers.get("authorization") == f"Bearer {key}":
            return None
        return answers.error(401, "Incorrect API key provided", "invalid_api_key")

    def _misaddressed(self) -> Answer | None:
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        return self.server.behaviour.form.misaddressed(query.keys(), {name.lower() for name in self.headers})

    def _api(self, path: str, body: dict[str, Any]) -> None:
        behaviour, endpoint = self.server.behaviour, _ENDPOINTS[path]
        began = time.monotonic()
        inputs = inputs_of(endpoint, body)
        tokens = sum(map(tokens_of, inputs))
        fault = None
        answer = self._unauthorised() or (self._misaddressed() if endpoint == "embeddings" else None)
        if answer is None:
            fault = behaviour.faults.strike(endpoint, inputs)
            answer = behaviour.respond(endpoint, body, fault)
            rate_limits = behaviour.rate_limits
            if rate_limits is not None:
                answer.headers |= rate_limits.spend(tokens)
        # Logged before the latency, so that a test can act while the request is in progress.
        kind = fault.kind if fault is not None else None
        behaviour.log(Request(endpoint, inputs, tokens, answer.status, kind, path, body=body))
        left = behaviour.delay(len(inputs)) - (time.monotonic() - began)
        if left > 0:
            behaviour.stopping.wait(left)
        if behaviour.stopping.is_set():
            self.close_connection = True
        else:
            self._send(answer)

    def _send(self, answer: Answer) -> None:
        if answer.ending == "silence":
            self._keep_silent(answer.silence)
            return
        if answer.ending == "reset":
            self._reset()
        self.send_response(answer.status)
        self.send_header("content-type", "application/json")
        self.send_header("x-request-id", "req_test")
        if self.close_connection:
            self.send_header("connection", "close")
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(answer.body)))
        self.end_headers()
        if answer.ending == "short":
            self.wfile.write(answer.body[: len(answer.body) // 2])
            self.close_connection = True
        else:
            self.wfile.write(answer.body)
        self.wfile.flush()

    def _keep_silent(self, seconds: float) -> None:
        # The connection becomes readable when the client gives up, and by cut_connections.
        waiting = select.poll()
        waiting.register(self.connection, select.POLLIN)
        waiting.poll(seconds * 1_000)
        self.close_connection = True

    def _reset(self) -> NoReturn:
        # Lingering for zero seconds makes close() send RST instead of FIN. The descriptor closes only when
        # the file objects made from it do too, and an orderly shutdown() before that would send a FIN first.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()
        self.wfile.close()
        self.connection.close()
        # Keeps the base class from flushing the closed files; `handle_error` ignores it.
        raise ConnectionResetError("on purpose")
