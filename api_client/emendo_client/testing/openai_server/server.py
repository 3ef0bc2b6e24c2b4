"""An OpenAI-protocol server, on loopback unless told otherwise: deterministic, with latency and faults on demand.

In-process: `with OpenAIServer() as server: … server.base_url, server.faults.add(Fault("unavailable"))`.
In a process of its own: `start_server_process()`, or `python -m emendo_client.testing`.
"""

from __future__ import annotations

import threading
from typing import Self

from emendo_client.testing.openai_server.behaviour import Behaviour
from emendo_client.testing.openai_server.limits import Limits
from emendo_client.testing.openai_server.listener import Listener
from emendo_client.testing.openai_server.rate_limits import RateLimits
from emendo_client.testing.ports import LOOPBACK

_POLL = 0.05  # seconds until `stop` is noticed


class OpenAIServer(Behaviour):
    """The server; a context manager. `Behaviour` describes everything that can be set.

    Args:
        port: 0 picks a free one.
        latency_ms: the time each answer takes.
        api_key: other keys are refused with 401; empty accepts any.
        default_dimensions: the vectors' dimensions if the request does not say.
        seed: of faults with a rate, and of the jitter.
        host: the address to listen at. Everyone who reaches it may also ask for faults.
        jitter_ms: the greatest random addition to the latency, evenly distributed.
        limits: requests beyond them are refused with 400 or 404.
        rate_limits: sent in the headers of every answer; None sends no such headers.

    Attributes:
        faults: the faults to come.
        chat: the chat answers to come.
    """

    def __init__(
        self,
        port: int = 0,
        latency_ms: float = 0.0,
        api_key: str = "",
        default_dimensions: int = 1536,
        seed: int = 0,
        *,
        host: str = LOOPBACK,
        jitter_ms: float = 0.0,
        limits: Limits | None = None,
        rate_limits: RateLimits | None = None,
    ) -> None:
        super().__init__(
            latency_ms,
            api_key,
            default_dimensions,
            seed,
            jitter_ms=jitter_ms,
            limits=limits,
            rate_limits=rate_limits,
        )
        self._http = Listener(port, host, self)
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(_POLL,), name="openai-server", daemon=True
        )

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Starts to answer; can be called once."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Ends the server and cuts every connection. No answer comes after it returns; a second call does nothing."""
        self.stopping.set()
        if self._thread.is_alive():
            self._http.shutdown()
            self._thread.join()
        self._http.server_close()
        self._http.cut_connections()

    @property
    def base_url(self) -> str:
        """The `base_url` for clients on this machine."""
        return f"http://{LOOPBACK}:{self._http.server_address[1]}/v1"
