"""A request that is refused before its body has come: ordinary clients read the answer, and nobody sends for ever."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from itertools import repeat

import httpx2 as httpx
import pytest

from tests.support.gateway import RunningGateway, make_key
from tests.support.raw_http import asks_again, is_closed

MEMORIES = "/api/v1/memories"
MEBIBYTE = 1 << 20
# More than the buffers of a connection hold, and less than what is dropped.
LARGE = 12 * MEBIBYTE
# The gateway drops 16 MiB of such a body. The rest stands for the buffers of both ends.
MOST_SENT = (16 + 32) * MEBIBYTE
NODE = """
const [url, key, size] = process.argv.slice(1);
const headers = {Authorization: `Bearer ${key}`, "Content-Type": "application/json"};
const answer = await fetch(url, {method: "POST", headers, body: "x".repeat(Number(size))});
console.log(JSON.stringify([answer.status, await answer.json()]));
"""


@pytest.fixture(scope="module")
def strict(emendo_worker):
    """A gateway that takes small bodies, soon."""
    with RunningGateway(emendo_worker, max_body_bytes=MEBIBYTE, body_timeout=60.0, header_timeout=60.0) as running:
        yield running


@pytest.fixture(params=["key", "none"])
def headers(strict, request) -> dict[str, str]:
    """Of a request with a key, whose body is refused, and of one without, which is refused as a whole."""
    more = {"Content-Type": "application/json"}
    return more | ({"Authorization": f"Bearer {make_key(strict.settings)[0]}"} if request.param == "key" else {})


def told(headers: dict[str, str]) -> tuple[int, str]:
    return (413, "BODY_TOO_LARGE") if "Authorization" in headers else (401, "KEY_REFUSED")


def large(is_declared: bool):
    piece = b"x" * (MEBIBYTE // 4)
    return b"x" * LARGE if is_declared else repeat(piece, LARGE // len(piece))


@pytest.mark.parametrize("is_declared", [True, False])
def test_a_blocking_client_reads_the_answer(strict, headers, is_declared):
    with strict.http() as http:
        answer = http.post(MEMORIES, content=large(is_declared), headers=headers)
        assert (answer.status_code, answer.json()["code"]) == told(headers)
        assert http.get("/health/live").status_code == 200


@pytest.mark.parametrize("is_declared", [True, False])
async def test_an_async_client_reads_the_answer(strict, headers, is_declared):
    async def pieces():
        for piece in large(False):
            yield piece

    async with httpx.AsyncClient(base_url=strict.url, timeout=60) as http:
        content = large(True) if is_declared else pieces()
        answer = await http.post(MEMORIES, content=content, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == told(headers)


def test_a_client_that_wants_the_connection_closed_reads_the_answer(strict, headers):
    request = urllib.request.Request(strict.url + MEMORIES, data=large(True), headers=headers)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=60)
    with refused.value as answer:
        assert (answer.code, json.load(answer)["code"]) == told(headers)


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node 18 or newer")
def test_fetch_of_node_reads_the_answer(strict):
    key, _ = make_key(strict.settings)
    command = ["node", "--input-type=module", "-e", NODE, strict.url + MEMORIES, key, str(LARGE)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert ended.returncode == 0, ended.stderr
    status, problem = json.loads(ended.stdout)
    assert (status, problem["code"]) == (413, "BODY_TOO_LARGE")


# Those who go on.


def sent_until_cut(gateway, fields: str, piece: bytes, most: int, pause: float = 0.0) -> int:
    """The bytes that a refused body had when the gateway cut it off; fails if it takes them all."""
    key, _ = make_key(gateway.settings)
    head = f"POST {MEMORIES} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n{fields}\r\n\r\n"
    sent = 0
    with gateway.connection() as connection:
        connection.sendall(head.encode())
        try:
            while sent < most:
                connection.sendall(piece)
                sent += len(piece)
                time.sleep(pause)
        except (ConnectionResetError, BrokenPipeError):
            return sent
    pytest.fail(f"the gateway took {sent} bytes of a body that it had refused")


@pytest.mark.parametrize("fields", [f"Content-Length: {10**15}", "Transfer-Encoding: chunked"])
def test_who_sends_for_ever_is_cut_off_after_an_amount(strict, fields):
    body = b"x" * MEBIBYTE
    piece = body if "Length" in fields else b"100000\r\n" + body + b"\r\n"
    assert sent_until_cut(strict, fields, piece, MOST_SENT) > LARGE


REFUSED = f"POST {MEMORIES} HTTP/1.1\r\nHost: localhost\r\n"


def refused(connection, fields: str) -> None:
    """Sends the head of a request without a key, and reads the answer."""
    connection.sendall(f"{REFUSED}{fields}\r\n\r\n".encode())
    assert connection.recv(65_536).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("limit", ["header_timeout", "idle_timeout"])
@pytest.mark.parametrize("closes", [True, False])
def test_who_sends_slowly_behind_its_answer_is_heard_to_the_end(start_gateway, closes, limit):
    """Only the time for a body bounds the rest of one. Behind it the connection is kept like any other."""
    gateway = start_gateway(**{"header_timeout": 60.0, "body_timeout": 60.0, limit: 0.2})
    with gateway.connection() as connection:
        refused(connection, f"{'Connection: close' if closes else 'X: x'}\r\nContent-Length: 25")
        for _ in range(25):
            time.sleep(0.02)
            connection.sendall(b"x")
        if closes:
            assert connection.recv(1) == b""
        elif limit == "idle_timeout":
            assert is_closed(connection)
        else:
            time.sleep(0.3)
            assert asks_again(connection)


def test_the_rest_of_a_body_is_bounded_however_long_a_head_may_take(start_gateway):
    gateway = start_gateway(header_timeout=0.3, idle_timeout=60.0, body_timeout=0.3)
    with gateway.connection() as connection:
        refused(connection, "Content-Length: 25")
        assert is_closed(connection)


def test_bodies_of_one_connection_are_not_added_up(start_gateway):
    gateway = start_gateway(max_body_bytes=1_024)  # so 16 KiB of a refused one are dropped
    with gateway.connection() as connection:
        for _ in range(6):
            refused(connection, f"Content-Length: {4 << 10}")
            connection.sendall(b"x" * (4 << 10))
        assert asks_again(connection)


@pytest.mark.parametrize("more", ["", "Connection: close\r\n", "Authorization: a second one\r\n"])
def test_who_dribbles_for_ever_is_cut_off_after_a_time(start_gateway, more):
    gateway = start_gateway(max_body_bytes=2_000, body_timeout=0.5, header_timeout=0.5)
    assert sent_until_cut(gateway, f"{more}Content-Length: {10**6}", b"x", 3_000, pause=0.02) > 0
