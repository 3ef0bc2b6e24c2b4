"""The test server in a separate process, and its remote control."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from dataclasses import asdict
from typing import Any, Self

from emendo_client.testing.openai_server.embedding_form import EmbeddingForm
from emendo_client.testing.openai_server.faults import Fault
from emendo_client.testing.openai_server.limits import Limits
from emendo_client.testing.openai_server.rate_limits import RateLimits
from emendo_client.testing.openai_server.reply import Reply
from emendo_client.testing.ports import LOOPBACK
from emendo_config.child_processes import environment_for, python_module

_TIMEOUT = 30.0
_BAD_REQUEST = 400


class RemoteOpenAIServer:
    """Controls an OpenAI test server in another process; a context manager that stops it.

    Every method raises URLError if the server does not answer, and ValueError if it refuses the arguments.

    Args:
        base_url: the server's address, ending in /v1.
        process: the server's process, for `stop`.
    """

    def __init__(self, base_url: str, process: subprocess.Popen[str] | None = None) -> None:
        self.base_url = base_url
        self._root = base_url.removesuffix("/v1")
        self._process = process
        # Without the environment's proxy, which cannot reach loopback.
        self._http = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def add_faults(self, *faults: Fault) -> None:
        """Adds faults."""
        self._call("POST", "faults", [asdict(fault) for fault in faults])

    def clear_faults(self) -> None:
        """Removes all faults."""
        self._call("DELETE", "faults")

    def requests(self, *, texts: bool = True) -> list[dict[str, Any]]:
        """The requests so far, as `Request.document`; inputs and body only if `texts`."""
        found: list[dict[str, Any]] = self._call("GET", f"requests?texts={int(texts)}")
        return found

    def clear_requests(self) -> None:
        """Empties the request log."""
        self._call("DELETE", "requests")

    def script(self, *replies: str | Reply) -> None:
        """Adds the next chat answers, in order."""
        self._call("POST", "chat", [reply if isinstance(reply, str) else asdict(reply) for reply in replies])

    def clear_script(self) -> None:
        """Removes the chat answers to come."""
        self._call("DELETE", "chat")

    def set_latency(self, milliseconds: float, jitter_ms: float = 0.0, input_ms: float = 0.0) -> None:
        """Sets the latency of each answer, the greatest random addition to it, and what each text adds."""
        self._call("POST", "latency", {"ms": milliseconds, "jitter_ms": jitter_ms, "input_ms": input_ms})

    def set_limits(self, limits: Limits) -> None:
        """Sets the limits of requests."""
        self._call("POST", "limits", limits.document())

    def set_form(self, form: EmbeddingForm) -> None:
        """Sets how the server's embeddings differ from OpenAI's."""
        self._call("POST", "form", form.document())

    def set_rate_limits(self, rate_limits: RateLimits | None) -> None:
        """Sets the rate-limit headers of answers; None sends no such headers."""
        self._call("POST", "rate_limits", None if rate_limits is None else asdict(rate_limits))

    def reset(self) -> None:
        """Restores the state at the start: no faults, no script, no log."""
        self._call("POST", "reset")

    def stop(self) -> None:
        """Ends the server's process if this object has one; kills it if it does not end in time."""
        if self._process is None:
            return
        with self._process as process:  # leaving it closes the pipe
            process.terminate()
            try:
                process.wait(_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
        self._process = None

    def _call(self, verb: str, what: str, document: Any = None) -> Any:
        # A POST without a document sends null, which rate_limits takes as none.
        body = json.dumps(document).encode() if verb == "POST" else None
        request = urllib.request.Request(f"{self._root}/_test/{what}", data=body, method=verb)  # noqa: S310  # loopback
        try:
            with self._http.open(request, timeout=_TIMEOUT) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as failure:
            with failure:
                if failure.code != _BAD_REQUEST:
                    raise
                raise ValueError(json.load(failure)["error"]["message"]) from None


def start_server_process(
    latency_ms: float = 0.0,
    *,
    port: int = 0,
    api_key: str = "",
    default_dimensions: int = 1536,
    seed: int = 0,
    host: str = LOOPBACK,
    jitter_ms: float = 0.0,
) -> RemoteOpenAIServer:
    """Starts `python -m emendo_client.testing` and returns its remote control once it listens.

    Args: as those of `OpenAIServer`.

    Raises:
        RuntimeError: it did not start; the reason is on standard error.
    """
    options = {
        "--port": port,
        "--host": host,
        "--latency-ms": latency_ms,
        "--jitter-ms": jitter_ms,
        "--api-key": api_key,
        "--dimensions": default_dimensions,
        "--seed": seed,
    }
    command = python_module("emendo_client.testing", *(f"{name}={value}" for name, value in options.items()))
    # It needs as little as Redis does.
    variables = environment_for("redis")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=variables)  # noqa: S603  # our own command
    assert process.stdout is not None
    base_url = process.stdout.readline().strip()
    if not base_url:
        with process:
            raise RuntimeError(f"the test server did not start (exit code {process.wait(_TIMEOUT)})")
    return RemoteOpenAIServer(base_url, process)
