"""A body is read whole, or refused: then it takes no room, and its connection ends if the rest would still come."""

from __future__ import annotations

import asyncio

import pytest

from emendo_client.errors import EmendoError
from emendo_config import GatewaySettings
from emendo_gateway.admission.asgi import CLOSE
from emendo_gateway.admission.bodies import Bodies, ClientGone
from emendo_gateway.admission.shares import Neighbours
from emendo_gateway.callers import Caller, begin, state_of

MOST = 1_024  # bytes
CHUNKED = [(b"transfer-encoding", b"chunked")]
PART = {"type": "http.request", "body": b"{", "more_body": True}
GONE = {"type": "http.disconnect"}


def length(size: int | str, *more: tuple[bytes, bytes]):
    return [(b"content-length", str(size).encode()), *more]


def coded(value: bytes):
    return length(2, (b"content-encoding", value))


def bodies(**own) -> Bodies:
    """For a project that has a neighbour."""
    neighbours = Neighbours()
    neighbours.note("neighbour", asyncio.get_running_loop().time())
    return Bodies(GatewaySettings(**{"max_body_bytes": MOST, "max_buffered_bytes": 4 * MOST, **own}), neighbours)


def request(headers, project="acme"):
    scope = {"type": "http", "method": "POST", "path": "/api/v1/memories", "headers": headers}
    begin(scope, "id").caller = Caller(project, "write")
    return scope


def sender(*parts):
    """Sends these, and then nothing more."""
    left = list(parts)

    async def receive():
        if not left:
            await asyncio.Event().wait()
        part = left.pop(0)
        return part if isinstance(part, dict) else {"type": "http.request", "body": part, "more_body": bool(left)}

    return receive


def never():
    pytest.fail("the body is read")


@pytest.mark.parametrize(
    ("headers", "parts", "expected"),
    [
        ([], None, b""),
        (length(0), None, b""),
        (length("1x"), None, b""),  # which servers refuse
        (length(2), [b"{}"], b"{}"),
        (length(2), [b"{", b"}"], b"{}"),
        (CHUNKED, [b"{", b"", b"}"], b"{}"),
        (CHUNKED, [b""], b""),
        (length(MOST), [b"x" * MOST], b"x" * MOST),
        (coded(b" Identity"), [b"{}"], b"{}"),
        (coded(b""), [b"{}"], b"{}"),
    ],
)
async def test_a_body_is_read_whole_and_takes_room_until_it_is_forgotten(headers, parts, expected):
    room = bodies()
    assert await room.read(request(headers), sender(*parts) if parts else never) == expected
    assert (room._buffered, room._shares._held["acme"]) == (len(expected), len(expected))
    room.forget("acme", expected)
    assert (room._buffered, room._shares._held["acme"]) == (0, 0)


@pytest.mark.parametrize(
    ("headers", "parts", "code", "closes"),
    [
        (coded(b"gzip"), None, "UNSUPPORTED_MEDIA_TYPE", True),
        ([*coded(b"identity"), *coded(b"br")], None, "UNSUPPORTED_MEDIA_TYPE", True),
        (length(MOST + 1), None, "BODY_TOO_LARGE", True),
        (length("9" * 5_000), None, "BODY_TOO_LARGE", True),
        (CHUNKED, [b"x" * MOST, b"x", b"more"], "BODY_TOO_LARGE", True),
        (length(2), [PART], "BODY_TOO_SLOW", True),
        (length(2), [b"\xff"], "VALIDATION", False),
    ],
)
async def test_a_body_that_is_refused_takes_no_room(headers, parts, code, closes):
    room = bodies(body_timeout=0.01)
    scope = request(headers)
    with pytest.raises(EmendoError) as refused:
        await room.read(scope, sender(*parts) if parts else never)
    assert (refused.value.error_code, CLOSE in state_of(scope).headers) == (code, closes)
    assert (room._buffered, dict(room._shares._held)) == (0, {})


@pytest.mark.parametrize("goes", ["is cancelled", "disconnects"])
async def test_who_goes_away_takes_no_room(goes):
    room, is_waited_for, parts = bodies(), asyncio.Event(), [PART]

    async def receive():
        if parts:
            return parts.pop()
        if goes == "disconnects":
            return GONE
        is_waited_for.set()
        return await asyncio.Event().wait()

    reading = asyncio.ensure_future(room.read(request(length(2)), receive))
    if goes == "is cancelled":
        await is_waited_for.wait()
        reading.cancel()
    with pytest.raises(asyncio.CancelledError if goes == "is cancelled" else ClientGone):
        await reading
    assert (room._buffered, dict(room._shares._held)) == (0, {})


@pytest.mark.parametrize(
    ("buffered", "sizes", "refused"),
    [
        (MOST, [MOST], None),  # half of it were too little
        (4 * MOST, [MOST, MOST], None),
        (4 * MOST, [MOST, MOST, 1], "this project has half of the bytes of bodies"),
    ],
)
async def test_beside_a_neighbour_a_project_has_half_of_the_room(buffered, sizes, refused):
    room = bodies(max_buffered_bytes=buffered)
    *before, last = sizes
    for size in before:
        await room.read(request(length(size)), sender(b"x" * size))
    scope = request(length(last))
    if refused is None:
        assert len(await room.read(scope, sender(b"x" * last))) == last
        return
    with pytest.raises(EmendoError, match=refused):
        await room.read(scope, sender(b"x" * last))
    assert CLOSE in state_of(scope).headers
    assert room._buffered == room._shares._held["acme"] == sum(before)
