"""Joins small requests of concurrent drains into one request to the provider."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from emendo_client.errors import EmendoError
from emendo_workers.providers.meter import Meter

Vectors = dict[str, bytes | EmendoError]
# Texts from which on a request is sent at once: a full one gains nothing by waiting for others.
FULL_REQUEST = 128


class MicroBatcher:
    """Joins requests that are made at the same time; thread-safe.

    If no group of texts is open, the caller opens one and sends it. While nothing is in flight it is sent at once, so
    that a lone request never waits. Otherwise it stays open for `max_wait`, and later callers join it.

    Args:
        send: asks the provider for texts, each once, and counts the cost with the meter.
        max_wait: seconds a group stays open at most.
    """

    def __init__(self, send: Callable[[Sequence[str], Meter], Vectors], max_wait: float) -> None:
        self._send = send
        self._max_wait = max_wait
        self._lock = threading.Lock()
        self._open: _Group | None = None
        self._in_flight = 0

    def embed(self, texts: Sequence[str], meter: Meter) -> Vectors:
        """Vectors or errors for the texts, and perhaps for others that were asked for at the same time.

        A joined request counts with the meter of the caller that sent it. Its tokens are divided over all callers by
        the length of their texts.
        """
        if len(texts) >= FULL_REQUEST:
            return self._send_counted(list(texts), meter)
        with self._lock:
            group, opened = self._open, self._open is None
            if group is None:
                group = self._open = _Group()
            group.texts.update(dict.fromkeys(texts))
            waits = self._in_flight > 0
            if len(group.texts) >= FULL_REQUEST:
                self._close(group)
        if not opened:
            vectors = group.vectors.result()
            meter.add(0, group.share(texts))
            return vectors
        if waits:
            group.closed.wait(self._max_wait)
        with self._lock:
            self._close(group)
        try:
            vectors = self._send_counted(list(group.texts), group.meter)
        except BaseException as error:
            group.vectors.set_exception(error)
            raise
        group.vectors.set_result(vectors)
        meter.add(group.meter.requests, group.share(texts))
        return vectors

    def _close(self, group: _Group) -> None:
        if self._open is group:
            self._open = None
        group.closed.set()

    def _send_counted(self, texts: list[str], meter: Meter) -> Vectors:
        """Sends one request, which counts as in flight until it is answered."""
        with self._lock:
            self._in_flight += 1
        try:
            return self._send(texts, meter)
        finally:
            with self._lock:
                self._in_flight -= 1


class _Group:
    """The texts of one joined request."""

    def __init__(self) -> None:
        self.texts: dict[str, None] = {}
        self.closed = threading.Event()
        self.vectors: Future[Vectors] = Future()
        self.meter = Meter()

    def share(self, texts: Sequence[str]) -> int:
        """The tokens that these texts account for."""
        whole = sum(map(len, self.texts))
        return round(self.meter.tokens * sum(map(len, texts)) / whole) if whole else 0
