"""The time of a whole request. The blocking HTTP client bounds the wait for each piece only.

A server that sends a byte now and then, or one interim answer after another, would hold a thread for hours.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import httpcore2
import httpx2

# By the monotonic clock: when the request of this thread must be over.
_ends: ContextVar[float | None] = ContextVar("ends", default=None)
# One wait covers so many bytes that are sent.
_PIECE = 65_536


def longest(request: httpx2.Request) -> float | None:
    """Seconds that the request may take; None without a limit."""
    found: float | None = request.extensions.get("timeout", {}).get("read")
    return found


@contextmanager
def time_of(request: httpx2.Request) -> Iterator[None]:
    """Bounds all waits of this thread for the network by the time of this request."""
    seconds = longest(request)
    before = _ends.set(None if seconds is None else time.monotonic() + seconds)
    try:
        yield
    finally:
        _ends.reset(before)


def keep_deadlines(client: httpx2.Client) -> None:
    """Lets the connections of a new client, to servers and to proxies, keep the time of `time_of`."""
    for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001  # the library has no option
        if isinstance(transport, httpx2.HTTPTransport):
            transport._pool._network_backend = _Backend()  # noqa: SLF001


class _Backend(httpcore2.SyncBackend):
    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, *options: Any, **more: Any
    ) -> httpcore2.NetworkStream:
        left = _left(timeout, httpcore2.ConnectTimeout)
        return _Stream(super().connect_tcp(host, port, left, *options, **more))


class _Stream(httpcore2.NetworkStream):
    """Another stream, whose waits end with the time of the request."""

    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout, httpcore2.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for begin in range(0, len(buffer), _PIECE):
            self._stream.write(buffer[begin : begin + _PIECE], _left(timeout, httpcore2.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        left = _left(timeout, httpcore2.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(timeout: float | None, late: type[Exception]) -> float | None:
    """Seconds that one wait may take."""
    ends = _ends.get()
    if ends is None:
        return timeout
    left = ends - time.monotonic()
    if left <= 0:
        raise late("the request takes too long")
    return left if timeout is None else min(left, timeout)
