"""An answer's head goes out with the first part of its body, and alone if no body comes at once."""

import asyncio
from types import SimpleNamespace

import pytest

from emendo_gateway.connection import _Answering

HEAD, BODY = b"HTTP/1.1 200 \r\n\r\n", b"{}"


@pytest.fixture
def written():
    """The parts that the transport gets, in order."""
    return []


@pytest.fixture
def connection(written):
    transport = SimpleNamespace(write=written.append, is_closing=lambda: False)
    return SimpleNamespace(
        transport=transport,
        close=lambda: written.append("closed"),
        loop=SimpleNamespace(call_soon=lambda call: asyncio.get_running_loop().call_soon(call)),
    )


def answer_with(connection, *parts):
    async def answer():
        made = _Answering(connection)
        for part in parts:
            await asyncio.sleep(0) if part is None else made.write(part)
        await asyncio.sleep(0)

    asyncio.run(answer())


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([HEAD, BODY, b""], [HEAD + BODY]),
        ([HEAD, BODY, b"0\r\n\r\n"], [HEAD + BODY, b"0\r\n\r\n"]),
        ([HEAD], [HEAD]),
        ([HEAD, None, BODY, BODY], [HEAD, BODY, BODY]),
        ([HEAD, b"", b""], [HEAD]),
    ],
    ids=["one piece", "chunked", "head alone", "stream", "empty body"],
)
def test_the_head_waits_for_a_body_of_the_same_turn_only(connection, written, parts, expected):
    answer_with(connection, *parts)
    assert written == expected


def test_a_connection_is_closed_behind_the_head(connection, written):
    async def answer():
        made = _Answering(connection)
        made.write(HEAD)
        made.close()
        await asyncio.sleep(0)

    asyncio.run(answer())
    assert written == [HEAD, "closed"]
