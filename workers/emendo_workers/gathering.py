"""Small requests of concurrent drains become one: the provider is asked once for what is wanted at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from emendo_client.errors import EmendoError
from emendo_workers.metering import Meter

Vectors = dict[str, bytes | EmendoError]
# Texts that make a request worth sending by itself: a full batch gains nothing by waiting for others.
ENOUGH = 128


class Gatherer:
    """Brings requests together; thread-safe.

    Who finds no open group opens one and sends it. While nothing is on its way it is sent at once, so that a lone
    request never waits; otherwise it stays open for a moment, and who comes meanwhile joins.

    Args:
        ask: asks the provider for texts, each once, and tells the meter what that cost.
        patience: seconds a group stays open.
    """

    def __init__(self, ask: Callable[[Sequence[str], Meter], Vectors], patience: float) -> None:
        self._ask = ask
        self._patience = patience
        self._lock = threading.Lock()
        self._open: _Group | None = None
        self._under_way = 0

    def embed(self, texts: Sequence[str], meter: Meter) -> Vectors:
        """Vectors or errors for the texts, and perhaps for others that were asked for at the same time.

        Of a request that was shared, who sent it is told of the request, and everybody of the tokens by the length of
        their texts.
        """
        if len(texts) >= ENOUGH:
            return self._send(list(texts), meter)
        with self._lock:
            group, opened = self._open, self._open is None
            if group is None:
                group = self._open = _Group()
            group.texts.update(dict.fromkeys(texts))
            waits = self._under_way > 0
            if len(group.texts) >= ENOUGH:
                self._close(group)
        if not opened:
            vectors = group.vectors.result()
            meter.add(0, group.share(texts))
            return vectors
        if waits:
            group.closed.wait(self._patience)
        with self._lock:
            self._close(group)
        try:
            vectors = self._send(list(group.texts), group.meter)
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

    def _send(self, texts: list[str], meter: Meter) -> Vectors:
        with self._lock:
            self._under_way += 1
        try:
            return self._ask(texts, meter)
        finally:
            with self._lock:
                self._under_way -= 1


class _Group:
    """Texts that will be one request."""

    def __init__(self) -> None:
        self.texts: dict[str, None] = {}
        self.closed = threading.Event()
        self.vectors: Future[Vectors] = Future()
        self.meter = Meter()

    def share(self, texts: Sequence[str]) -> int:
        """The tokens that these of its texts account for."""
        whole = sum(map(len, self.texts))
        return round(self.meter.tokens * sum(map(len, texts)) / whole) if whole else 0
