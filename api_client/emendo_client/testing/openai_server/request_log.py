"""The log of requests to the test server."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field, fields
from typing import Any

_MOST_KEPT = 100_000


@dataclass(slots=True)
class Request:
    """One API request as the server saw it.

    Attributes:
        endpoint: `embeddings` or `chat`.
        inputs: the texts, or the messages' contents.
        tokens: an estimate of the token count.
        status: of the answer; 0 if the connection was cut or kept silent instead.
        fault: the kind of the fault that struck, if any.
        path: without the query.
        time: when the request was read, in seconds since 1970.
        body: the whole JSON of the request: for chat also `messages`, `response_format`, `temperature` and so on.
    """

    endpoint: str
    inputs: list[str] = field(repr=False)
    tokens: int
    status: int
    fault: str | None
    path: str = ""
    time: float = field(default_factory=time.time)
    body: dict[str, Any] = field(default_factory=dict, repr=False)

    def document(self, *, texts: bool = True) -> dict[str, Any]:
        """The request as JSON values, with the number of inputs as `count`; inputs and body only if `texts`."""
        left_out = () if texts else ("inputs", "body")
        document = {kept.name: getattr(self, kept.name) for kept in fields(self) if kept.name not in left_out}
        return {**document, "count": len(self.inputs)}


class RequestLog:
    """The newest requests, oldest first; thread-safe."""

    def __init__(self) -> None:
        self._requests: deque[Request] = deque(maxlen=_MOST_KEPT)
        self._lock = threading.Lock()

    def add(self, request: Request) -> None:
        """Adds a request, and drops the oldest if there are too many."""
        with self._lock:
            self._requests.append(request)

    def all(self) -> list[Request]:
        """A copy of the log, oldest first."""
        with self._lock:
            return list(self._requests)

    def clear(self) -> None:
        """Empties the log."""
        with self._lock:
            self._requests.clear()
