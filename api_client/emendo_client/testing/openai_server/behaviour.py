"""The server's answers and everything that a test can set about them; no sockets."""

from __future__ import annotations

import random
import threading
from typing import Any

from emendo_client.testing.openai_server import answers, embedding_answers
from emendo_client.testing.openai_server.answers import Answer
from emendo_client.testing.openai_server.chat import Answerer, ChatScript, Said
from emendo_client.testing.openai_server.embedding_form import EmbeddingForm
from emendo_client.testing.openai_server.faults import Fault, Faults
from emendo_client.testing.openai_server.limits import Limits
from emendo_client.testing.openai_server.rate_limits import RateLimits
from emendo_client.testing.openai_server.request_log import Request, RequestLog

_ANY_MODEL = ("text-embedding-3-small",)  # listed if every name is known


class Behaviour:
    """The state of a server. Every change takes effect with the next request.

    The arguments are those of `OpenAIServer`.

    Attributes:
        input_ms: what each text of a request adds to the latency.
        form: how its embeddings differ from OpenAI's.
        faults: the faults to come.
        chat: the chat answers to come.
        stopping: set once the server ends; no answer is sent after that.
    """

    def __init__(
        self,
        latency_ms: float,
        api_key: str,
        default_dimensions: int,
        seed: int,
        *,
        jitter_ms: float,
        limits: Limits | None,
        rate_limits: RateLimits | None,
    ) -> None:
        self.latency_ms = latency_ms
        self.jitter_ms = jitter_ms
        self.input_ms = 0.0
        self.api_key = api_key
        self.default_dimensions = default_dimensions
        self.limits = limits or Limits()
        self.rate_limits = rate_limits
        self._initial = (latency_ms, jitter_ms, api_key, default_dimensions, self.limits, rate_limits)
        self.form = EmbeddingForm()
        self.faults = Faults(seed)
        self.chat = ChatScript()
        self.stopping = threading.Event()
        self._log = RequestLog()
        # Its own random numbers, since jitter must not shift which requests a fault's rate strikes.
        self._seed = seed
        self._random = random.Random(seed)  # noqa: S311  # repeatable on purpose

    @property
    def requests(self) -> list[Request]:
        """The requests so far, oldest first."""
        return self._log.all()

    def clear_requests(self) -> None:
        """Empties the request log."""
        self._log.clear()

    def script(self, *replies: Said) -> None:
        """Adds the next chat answers, in order; the same as `chat.script`."""
        self.chat.script(replies)

    def answer_chat_with(self, answerer: Answerer | None) -> None:
        """Sets a function from the chat request to the answer; the same as `chat.answer_with`."""
        self.chat.answer_with(answerer)

    def reset(self) -> None:
        """Restores the initial state: no faults, no script, no log, the settings given at the start."""
        self.latency_ms, self.jitter_ms, self.api_key, self.default_dimensions, *_ = self._initial
        *_, self.limits, self.rate_limits = self._initial
        if self.rate_limits is not None:
            self.rate_limits.renew()
        self.input_ms = 0.0
        self._random.seed(self._seed)
        self.form = EmbeddingForm()
        self.faults.clear()
        self.chat.clear()
        self._log.clear()

    def log(self, request: Request) -> None:
        """Adds a request to the log."""
        self._log.add(request)

    def delay(self, inputs: int = 0) -> float:
        """The duration of the next answer, to a request of so many texts, in seconds."""
        return (self.latency_ms + self.input_ms * inputs + self.jitter_ms * self._random.random()) / 1_000

    def respond(self, endpoint: str, request: dict[str, Any], fault: Fault | None) -> Answer:
        """The answer to one API request: by the fault that strikes it, by the limits, or by the endpoint."""
        struck = answers.fault_answer(fault, endpoint) if fault is not None else None
        if struck is not None:
            return struck
        refusal = self.limits.refusal(endpoint, request)
        if refusal is not None:
            return refusal
        if endpoint == "embeddings":
            refusal = self.form.refusal(request)
            return refusal or embedding_answers.embeddings(request, fault, self.default_dimensions, self.form)
        return self.chat.respond(request)

    def models(self) -> Answer:
        """The answer to GET /models."""
        known = self.limits.models
        return answers.models(list(_ANY_MODEL) if known is None else sorted(known))
