"""The time of a request to a provider is that of all its parts together, however the server spreads them."""

from __future__ import annotations

import threading

import httpcore2
import httpx2
import pytest

from emendo_client.providers import deadlines
from emendo_client.providers.deadlines import time_of
from tests.security.raw_provider import EVERY_WAY, GOOD, SAID, Handler, chat, failure, settings_of

# The server sends the first part once, the second again and again, and in the end the rest of a good head.
HEADS = {
    "a first line": (b"HTTP/1.1 200 ", b"O", b"\r\n"),
    "a header": (b"HTTP/1.1 200 OK\r\nx: ", b"y", b"\r\n"),
    "an interim header": (b"HTTP/1.1 100 Continue\r\nx: ", b"y", b"\r\n\r\nHTTP/1.1 200 OK\r\n"),
    "interim answers": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", b"HTTP/1.1 200 OK\r\n"),
}


@EVERY_WAY
@pytest.mark.parametrize("head", HEADS)
def test_a_head_that_trickles_ends_with_the_time_of_a_request(provider, ask, head):
    begin, part, end = HEADS[head]
    body = SAID if ask is chat else GOOD

    def trickle(handler: Handler) -> None:
        wait = threading.Event()
        handler.wfile.write(begin)
        for _ in range(200):
            handler.wfile.write(part)
            wait.wait(0.02)
        handler.wfile.write(end + b"content-length: %d\r\n\r\n%b" % (len(body), body))

    provider.answer = trickle
    error = failure(ask, settings_of(provider, embedding_timeout=0.3, chat_timeout=0.3))
    assert error.error_code == "PROVIDER_TIMEOUT"


class Slow(httpcore2.MockStream):
    """Each call takes a second of `now`, whatever time it is given."""

    def __init__(self) -> None:
        super().__init__([b"x"] * 100)
        self.now = 0
        self.given: list[float | None] = []

    def write(self, buffer, timeout=None):
        self.given.append(timeout)
        self.now += 1

    def read(self, max_bytes, timeout=None):
        self.write(b"", timeout)
        return super().read(max_bytes, timeout)


def write(stream):
    stream.write(b"x" * (1 << 20), 3.0)


def read(stream):
    for _ in range(100):
        stream.read(1, 3.0)


@pytest.mark.parametrize(("call", "late"), [(write, httpcore2.WriteTimeout), (read, httpcore2.ReadTimeout)])
def test_each_wait_has_only_what_is_left_of_the_time(monkeypatch, call, late):
    slow = Slow()
    monkeypatch.setattr(deadlines.time, "monotonic", lambda: slow.now)
    request = httpx2.Request("POST", "http://h/", extensions={"timeout": {"read": 5.0}})
    with time_of(request), pytest.raises(late):
        call(deadlines._Stream(slow))
    assert slow.given == [3.0, 3.0, 3.0, 2.0, 1.0]
