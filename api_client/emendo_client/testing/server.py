"""An OpenAI-protocol server on loopback: deterministic, with latency and faults on demand.

In-process: `with OpenAIServer() as server: … server.base_url, server.faults.add(Fault("unavailable"))`.
In a process of its own: `start_server_process()`, or `python -m emendo_client.testing`.
"""

from __future__ import annotations

import random
import threading
from typing import Any, Self

from emendo_client.testing import answers
from emendo_client.testing._http import Listener
from emendo_client.testing.answers import Answer
from emendo_client.testing.chat import Answerer, ChatScript
from emendo_client.testing.faults import Fault, Faults
from emendo_client.testing.limits import Limits
from emendo_client.testing.rate_limits import RateLimits
from emendo_client.testing.remote import RemoteOpenAIServer, start_server_process
from emendo_client.testing.reply import Reply
from emendo_client.testing.request_log import Request, RequestLog

__all__ = ["OpenAIServer", "RemoteOpenAIServer", "Request", "start_server_process"]

_ANY_MODEL = ("text-embedding-3-small",)  # what is listed when every name is known
_POLL = 0.05  # seconds until `stop` is noticed


class OpenAIServer:
    """The server; a context manager. What it is told takes effect with the next request.

    Args:
        port: 0 picks a free one.
        latency_ms: how long each answer takes.
        api_key: refuse other keys with 401; empty takes any.
        default_dimensions: of vectors, when the request does not say.
        seed: of the faults that strike at a rate, and of the jitter.
        jitter_ms: at most so much is added to the latency, evenly distributed.
        limits: what is refused with 400 or 404.
        rate_limits: told in the headers of every answer; None sends no such headers.

    Attributes:
        faults: what goes wrong.
        chat: what is said.
    """

    def __init__(
        self,
        port: int = 0,
        latency_ms: float = 0.0,
        api_key: str = "",
        default_dimensions: int = 1536,
        seed: int = 0,
        *,
        jitter_ms: float = 0.0,
        limits: Limits | None = None,
        rate_limits: RateLimits | None = None,
    ) -> None:
        self.latency_ms = latency_ms
        self.jitter_ms = jitter_ms
        self.api_key = api_key
        self.default_dimensions = default_dimensions
        self.limits = limits or Limits()
        self.rate_limits = rate_limits
        self._at_first = (latency_ms, jitter_ms, api_key, default_dimensions, self.limits, rate_limits)
        self.faults = Faults(seed)
        self.chat = ChatScript()
        self._log = RequestLog()
        # Its own numbers: jitter must not shift which requests a fault's rate strikes.
        self._seed = seed
        self._random = random.Random(seed)  # noqa: S311  # repeatable on purpose
        self.stopping = threading.Event()
        self._http = Listener(port, self)
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(_POLL,), name="openai-server", daemon=True
        )

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Begins to answer; once."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Ends, and cuts every connection: no answer comes after this returns. A second call does nothing."""
        self.stopping.set()
        if self._thread.is_alive():
            self._http.shutdown()
            self._thread.join()
        self._http.server_close()
        self._http.cut_connections()

    @property
    def base_url(self) -> str:
        """What to give as `base_url`."""
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    @property
    def requests(self) -> list[Request]:
        """The requests so far, oldest first."""
        return self._log.all()

    def clear_requests(self) -> None:
        """Forgets the requests so far."""
        self._log.clear()

    def script(self, *replies: str | Reply) -> None:
        """The next chat answers, in order; short for `chat.script`."""
        self.chat.script(replies)

    def answer_chat_with(self, answerer: Answerer | None) -> None:
        """A function from the chat request to the answer; short for `chat.answer_with`."""
        self.chat.answer_with(answerer)

    def reset(self) -> None:
        """As it was made: what was set since then is undone; no faults, no script, no log."""
        self.latency_ms, self.jitter_ms, self.api_key, self.default_dimensions, *_ = self._at_first
        *_, self.limits, self.rate_limits = self._at_first
        if self.rate_limits is not None:
            self.rate_limits.renew()
        self._random.seed(self._seed)
        self.faults.clear()
        self.chat.clear()
        self._log.clear()

    def log(self, request: Request) -> None:
        """Adds to the request log."""
        self._log.add(request)

    def delay(self) -> float:
        """How long the next answer takes, in seconds."""
        return (self.latency_ms + self.jitter_ms * self._random.random()) / 1_000

    def respond(self, endpoint: str, request: dict[str, Any], fault: Fault | None) -> Answer:
        """The answer to one API request, by the fault that strikes it, the limits, or the endpoint."""
        struck = answers.fault_answer(fault) if fault is not None else None
        if struck is not None:
            return struck
        refusal = self.limits.refusal(endpoint, request)
        if refusal is not None:
            return refusal
        if endpoint == "embeddings":
            return answers.embeddings(request, fault, self.default_dimensions)
        return self.chat.respond(request)

    def models(self) -> Answer:
        """The answer to GET /models."""
        known = self.limits.models
        return answers.models(list(_ANY_MODEL) if known is None else sorted(known))
