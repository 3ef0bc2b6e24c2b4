"""The test server in a process of its own, and its remote control."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from dataclasses import asdict
from typing import Any, Self

from emendo_client.testing.faults import Fault

_TIMEOUT = 10.0


class RemoteOpenAIServer:
    """Steers an OpenAI test server in another process; a context manager that stops it.

    Args:
        base_url: the server's, ending in /v1.
        process: stopped by `stop`, when given.
    """

    def __init__(self, base_url: str, process: subprocess.Popen[str] | None = None) -> None:
        self.base_url = base_url
        self._root = base_url.removesuffix("/v1")
        self._process = process

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def add_faults(self, *faults: Fault) -> None:
        """Adds faults."""
        self._call("POST", "faults", [asdict(fault) for fault in faults])

    def clear_faults(self) -> None:
        """Ends all faults."""
        self._call("DELETE", "faults")

    def requests(self) -> list[dict[str, Any]]:
        """The requests so far: endpoint, inputs, tokens, status, fault."""
        found: list[dict[str, Any]] = self._call("GET", "requests")
        return found

    def clear_requests(self) -> None:
        """Forgets the requests so far."""
        self._call("DELETE", "requests")

    def script(self, *contents: str) -> None:
        """The next chat answers, in order."""
        self._call("POST", "chat", list(contents))

    def set_latency(self, milliseconds: float) -> None:
        """How long each answer takes from now on."""
        self._call("POST", "latency", milliseconds)

    def stop(self) -> None:
        """Ends the server's process, when this object started it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(_TIMEOUT)
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None

    def _call(self, verb: str, what: str, document: Any = None) -> Any:
        body = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(f"{self._root}/_test/{what}", data=body, method=verb)  # noqa: S310  # loopback
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
            return json.load(answer)


def start_server_process(latency_ms: float = 0.0) -> RemoteOpenAIServer:
    """Starts `python -m emendo_client.testing` and returns its remote control once it listens."""
    command = [sys.executable, "-m", "emendo_client.testing", "--latency-ms", str(latency_ms)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603  # our own command
    if process.stdout is None:
        raise RuntimeError("the server's output was not piped")
    base_url = process.stdout.readline().strip()
    if not base_url:
        raise RuntimeError(f"the test server did not start (exit code {process.wait(_TIMEOUT)})")
    return RemoteOpenAIServer(base_url, process)
